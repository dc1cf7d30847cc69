"""Let functions decide what is made: one clip of today's weather, and a table of clips of the day's products.

A function with ``@task.grokvideo`` returns a prompt, a mapping of arguments, or many mappings. One makes one video,
many make a table in one task. The function is called once per try, and nothing is bought if it raises. A retry buys
only what was not bought.

Cost: 4 s of 480p at 0.05 USD, 2 s for each of three products, and 4 s more of the first clip with its source:
0.20 + 0.30 + 0.24 USD, 0.74 USD together.
Change: ``weather``, which may ask a service, and ``products``, which may read a database.
"""

import os

from airflow.sdk import DAG, task

OUTPUT = os.environ.get("GROKVIDEO_DEMO_OUTPUT", "~/grokvideo")

with DAG(
    "grokvideo_decorated_functions",
    schedule=None,
    params={"output": OUTPUT},
    tags=["grokvideo"],
    doc_md=__doc__,
):

    @task
    def weather() -> str:
        return "light rain"

    @task
    def products() -> list[dict[str, str]]:
        return [
            {"sku": "cup-1", "name": "a blue cup"},
            {"sku": "pan-7", "name": "an iron pan"},
            {"sku": "jug-3", "name": "a glass jug"},
        ]

    # One prompt makes one clip.
    @task.grokvideo(duration=4, destination="{{ params.output }}/decorated/today.mp4")
    def today(sky: str) -> str:
        return f"A quiet harbour in {sky}, one slow pan to the right"

    # A mapping has the arguments of the operators; a clip with a duration is extended.
    @task.grokvideo(destination="{{ params.output }}/decorated/today-longer.mp4")
    def longer(clip: dict) -> dict:
        return {"prompt": "The clouds break and the sun comes out", "video": clip, "duration": 4}

    # Many mappings make a table: each row has its id and its own columns.
    @task.grokvideo(duration=2, destination="{{ params.output }}/decorated/{id}.mp4", min_success_ratio=0.9)
    def turntables(items: list[dict]):
        for item in items:
            yield {"id": item["sku"], "prompt": f"{item['name']} turns slowly on a white table", "sku": item["sku"]}

    @task
    def report(summary: dict) -> str:
        return f"{summary['counts'].get('delivered', 0)} of {summary['rows']} clips, see {summary['table_uri']}"

    longer(today(weather()))
    report(turntables(products()))
