"""From a challenger to the champion that serves."""
