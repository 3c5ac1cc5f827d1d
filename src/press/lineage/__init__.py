"""Where each table comes from, as a run has shown it, and not as anybody has written it down.

| module | what it is for |
|---|---|
| `record` | recording: the settings of a session, and the events of what Spark does not see |
| `events` | what was recorded, read again and freed of noise |
| `plans`, `columns` | the completions, each from a plan that Spark ran |
| `models` | what MLflow knows of the training of models |
| `observed` | the edges of a chapter |
| `compare` | the edges beside the contracts |
| `kept` | the edges of the whole course, kept in the repository for the page |
| `table` | `gold.lineage` |
| `figure`, `page` | the page of the book |
"""
