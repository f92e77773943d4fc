"""What a run leaves on disk: describing, saving, finding and restoring it.

train_dir/
  model.json            which network, classes, preprocessing: all that the weights do not say
  flags.txt             the flags it ran with, as a flagfile
  model.ckpt-1200.*     the last few checkpoints (`checkpoint` lists them)
  best/model.ckpt-900.* the one with the highest validation accuracy
  set_aside/            checkpoints that are damaged, or were saved when training had diverged
  metrics.jsonl         a line per log interval and validation
  events.*, validation/ TensorBoard summaries
"""
