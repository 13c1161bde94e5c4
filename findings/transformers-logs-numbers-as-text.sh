#!/usr/bin/env bash
# transformers 5.24.0 (Trainer), Python 3.11: the dict that is printed holds text, of four digits.
#
# Version 4 printed {'eval_loss': 0.6936448812484741}. Since 5 the callback that prints rounds to four
# significant digits and turns numbers into text: {'eval_loss': '0.6936'}; `evaluate()` still returns
# floats. A reader of logs that looks for 'name': number finds nothing, and one that takes text in
# quotes for numbers ranks trials by four digits: accuracies of 1,250 and of 1,251 rows of 2,000 right
# (0.625 and 0.6255) stay apart, of 12,500 and of 12,501 rows of 20,000 they are the same text.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 transformers==5.24.0 accelerate==1.15.0
cat > "$folder/train.py" <<'PYTHON'
import ast
import contextlib
import io
import re

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

torch.manual_seed(0)
sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
model = BertForSequenceClassification(BertConfig(**sizes, intermediate_size=16, vocab_size=50))
rows = [{"input_ids": torch.randint(0, 50, (8,)), "labels": torch.tensor(i % 2)} for i in range(32)]
given = TrainingArguments(
    "out", num_train_epochs=1, report_to=[], use_cpu=True, save_strategy="no",
    eval_strategy="epoch", disable_tqdm=True,
)
scores = iter([12_500 / 20_000, 12_501 / 20_000])
trainer = Trainer(
    model=model, args=given, train_dataset=rows, eval_dataset=rows,
    compute_metrics=lambda _: {"accuracy": next(scores)},
)
with contextlib.redirect_stdout(io.StringIO()) as out:
    trainer.train()
    returned = trainer.evaluate()
printed = [ast.literal_eval(one) for one in re.findall(r"\{'eval_loss.*?\}", out.getvalue())]
print("printed: ", printed)
print("returned:", returned)
assert [one["eval_accuracy"] for one in printed] == ["0.625", "0.625"], printed
assert isinstance(returned["eval_loss"], float) and returned["eval_accuracy"] == 0.62505
assert all(isinstance(value, str) for one in printed for value in one.values())
PYTHON
cd "$folder"
venv/bin/python train.py 2> /dev/null
echo "as described"
