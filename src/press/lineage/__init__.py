"""Where each table comes from, as a run has shown it, and not as anybody has written it down.

| module | what it is for |
|---|---|
| `events` | what was recorded, read again and freed of noise |
| `plans`, `columns` | the completions, each from a plan that Spark ran |
| `models` | what MLflow knows of the training of models |
| `observed` | the edges of a chapter |
| `compare` | the edges beside the contracts |

What is read here is recorded by `medallion.spark.recording`. The edges of the whole course are kept in the
repository by `press.recorded.lineage` and in `gold.lineage` by `press.recorded.lineage_table`;
`press.reference.lineage_page` and `lineage_figure` make the page of the book.
"""
