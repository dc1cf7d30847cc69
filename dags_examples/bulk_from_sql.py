"""Make a video for each row of an SQL query, in one task, and keep the result as Parquet.

The query runs in the database of an Airflow connection, by that connection's own hook. Its columns are those of a
table of requests: ``prompt``, ``duration`` and so on; further columns are in the result table, too. The table needs the
extra ``table`` (pyarrow).

Cost: 0.20 USD for each row, 4 s of 480p at 0.05 USD a second; 10 USD at most, or you are asked.
Change: ``QUERY`` and the connection ``shop_db``.
"""

import os

from airflow.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoBulkOperator

OUTPUT = os.environ.get("GROKVIDEO_DEMO_OUTPUT", "~/grokvideo")
QUERY = """
    SELECT sku, name, price, 'Product shot of a ' || name || ', a slow push in' AS prompt
    FROM products
    WHERE has_clip = 0
    ORDER BY sku
"""

with DAG(
    "grokvideo_bulk_from_sql",
    schedule=None,
    params={"output": OUTPUT},
    tags=["grokvideo"],
    doc_md=__doc__,
):
    GrokVideoBulkOperator(
        task_id="clips",
        rows_sql=QUERY,
        sql_conn_id="shop_db",
        id_column="sku",
        defaults={"duration": 4},
        destination="{{ params.output }}/shop/{sku}.mp4",
        table="{{ params.output }}/shop/clips.parquet",
        max_cost_usd=10,
        on_limit="ask",
        retries=2,
    )
