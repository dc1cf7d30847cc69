"""Make a video for each row of a CSV file, in one task; a second task reads the result table.

All rows are checked and priced before the first is paid, and at most ``max_in_flight`` requests run at xAI at once. If
rows fail at xAI, the others get their video all the same; a retry submits the failed ones again, as ``resubmit_on``
says.

Cost: 3 rows of 4 s and 2 rows of 6 s of 480p at 0.05 USD a second: 1.20 USD.
Change: ``rows`` when the run is triggered, to a path on the worker or an ObjectStorage URL of a CSV, JSONL or Parquet
file. Further columns of your file, such as ``product``, are in the result table, too.
"""

import json
import os
from pathlib import Path

from airflow.sdk import DAG, ObjectStoragePath, task

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoBulkOperator

OUTPUT = os.environ.get("GROKVIDEO_DEMO_OUTPUT", "~/grokvideo")
PRODUCTS = str(Path(__file__).with_name("data") / "products.csv")

with DAG(
    "grokvideo_bulk_from_csv",
    schedule=None,
    params={"output": OUTPUT, "rows": PRODUCTS},
    tags=["grokvideo"],
    doc_md=__doc__,
):
    clips = GrokVideoBulkOperator(
        task_id="clips",
        rows="{{ params.rows }}",
        defaults={"duration": 4, "aspect_ratio": "1:1"},
        destination="{{ params.output }}/products/{id}.mp4",
        max_in_flight=20,
        max_cost_usd=5,
        resubmit_on=["failed"],
        retries=2,
    )

    @task
    def publish(made) -> dict[str, str]:
        """Return the video of each product."""
        table = ObjectStoragePath(made["table_uri"]).read_text(encoding="utf-8")
        lines = [json.loads(line) for line in table.splitlines()]
        return {line["product"]: line["uri"] for line in lines if line["status"] == "delivered"}

    publish(clips.output)
