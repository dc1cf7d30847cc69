"""Make one clip per prompt, and one per row of settings, all waiting at the same time without a worker slot.

Deferred tasks hold no slot, so without a limit a hundred prompts are bought at once.
``max_active_tis_per_dagrun`` limits one task in one run. A pool limits several DAGs together, if it counts deferred
tasks: ``airflow pools set grokvideo 8 "paid videos in flight" --include-deferred``, then ``POOL = "grokvideo"``.

Cost: 4 s of 480p at 0.05 USD for each of three prompts, and 2 x 3 s of formats: 0.90 USD. The last task adds it up.
Change: ``prompts`` when the run is triggered, one per line, and ``FORMATS``.
"""

import os

from airflow.sdk import DAG, Param, task

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

OUTPUT = os.environ.get("GROKVIDEO_DEMO_OUTPUT", "~/grokvideo")
POOL = "default_pool"
PROMPTS = ["A kite over dunes", "A kite over a frozen lake", "A kite over a city at night"]
FORMATS = [
    {"prompt": "A kite is let go", "aspect_ratio": "9:16", "duration": 3},
    {"prompt": "A kite is let go", "aspect_ratio": "1:1", "duration": 3},
]

with DAG(
    "grokvideo_many_prompts",
    schedule=None,
    params={"output": OUTPUT, "prompts": Param(PROMPTS, type="array", items={"type": "string"})},
    tags=["grokvideo"],
    doc_md=__doc__,
):

    @task
    def prompts(params=None) -> list[str]:
        return list(params["prompts"])

    @task(trigger_rule="all_done")
    def total_cost(*groups) -> float:
        return round(sum(manifest["cost_usd"] or 0 for group in groups for manifest in group or []), 4)

    clips = GrokVideoGenerateOperator.partial(
        task_id="clips",
        duration=4,
        destination="{{ params.output }}/kites/{{ ti.map_index }}.mp4",
        map_index_template="{{ task.prompt }}",
        max_active_tis_per_dagrun=4,
        pool=POOL,
    ).expand(prompt=prompts())

    formats = GrokVideoGenerateOperator.partial(
        task_id="formats",
        destination="{{ params.output }}/kites/format-{{ ti.map_index }}.mp4",
        map_index_template="{{ task.aspect_ratio }}",
        pool=POOL,
    ).expand_kwargs(FORMATS)

    total_cost(clips.output, formats.output)
