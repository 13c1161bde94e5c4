#!/usr/bin/env bash
# PyTorch Lightning 2.6.6, Python 3.11: what its progress bars leave in a log that is no terminal.
#
# A tuner that reads val_loss from the log of a pod meets both bars, as whether rich is installed
# decides which one Lightning takes by itself. Seen on 2026-11-30:
#   tqdm  In each epoch after the first, the bar is at 100 % twice before validation has run, and shows
#         the val_loss of the epoch before: a reader that takes every full bar credits epoch 1 with
#         epoch 0's value. Only the last state of an epoch's bar is that epoch's.
#   rich  Of two epochs only the last one is there at all (as "Epoch 1/1"), once, when training is
#         over: no curve can be read. (With more than one metric it is also broken at 80 columns, the
#         names and their values on different lines.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 lightning==2.6.6 rich==15.0.0
cat > "$folder/train.py" <<'PYTHON'
import sys
import lightning
import torch
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.rand(64, 4)
rows = DataLoader(TensorDataset(x, (x.sum(1) > 2).float()), 8)
loss = torch.nn.functional.binary_cross_entropy_with_logits


class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, _):
        return loss(self.layer(batch[0])[:, 0], batch[1])

    def validation_step(self, batch, _):
        self.log("val_loss", loss(self.layer(batch[0])[:, 0], batch[1]), prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.5)


bar = {"rich": RichProgressBar, "tqdm": TQDMProgressBar}[sys.argv[1]]()
trainer = lightning.Trainer(
    max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
    enable_model_summary=False, callbacks=[bar],
)
trainer.fit(Model(), rows, rows)
PYTHON
cd "$folder"
for bar in tqdm rich; do
  venv/bin/python train.py $bar 2> /dev/null | tr '\r' '\n' > $bar.log
done
python3 - <<'PYTHON'
import re
from pathlib import Path

full = re.compile(r"Epoch (\d+): 100%.*?val_loss=([0-9.]+)")
states = [full.search(line) for line in Path("tqdm.log").read_text().splitlines()]
by_epoch = {}
for state in filter(None, states):
    by_epoch.setdefault(int(state[1]), []).append(state[2])
print("tqdm, val_loss at 100 % by epoch:", by_epoch)
assert by_epoch[1][0] == by_epoch[0][-1] != by_epoch[1][-1], by_epoch

lines = [line for line in Path("rich.log").read_text().splitlines() if line.strip()]
print("rich, the whole log after the start:", *lines, sep="\n  ")
assert [re.search(r"Epoch (\d+/\d+)", line)[1] for line in lines if "Epoch" in line] == ["1/1"]
PYTHON
echo "as described"
