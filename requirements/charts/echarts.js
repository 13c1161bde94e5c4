export {init, use, registerTheme, graphic, getInstanceByDom, format} from "echarts/core";
import {use} from "echarts/core";
import {LineChart, ScatterChart, BarChart, BoxplotChart, HeatmapChart, CustomChart, ParallelChart} from "echarts/charts";
import {GridComponent, TooltipComponent, LegendScrollComponent, VisualMapContinuousComponent, DataZoomInsideComponent, MarkLineComponent, ParallelComponent} from "echarts/components";
import {CanvasRenderer} from "echarts/renderers";
use([LineChart, ScatterChart, BarChart, BoxplotChart, HeatmapChart, CustomChart, ParallelChart, GridComponent, TooltipComponent, LegendScrollComponent, VisualMapContinuousComponent, DataZoomInsideComponent, MarkLineComponent, ParallelComponent, CanvasRenderer]);
