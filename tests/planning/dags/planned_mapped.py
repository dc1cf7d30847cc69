"""Mapped tasks and task groups: of lists that are known, and of lists that are not."""

from airflow.sdk import DAG, task, task_group

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoEditOperator, GrokVideoGenerateOperator

with DAG("known_lists", schedule=None, default_args={"duration": 4}):
    clips = GrokVideoGenerateOperator.partial(task_id="clips", duration=3).expand(
        prompt=["A", "B"], resolution=["480p", "720p"]
    )
    GrokVideoEditOperator.partial(task_id="edits", prompt="In winter").expand(video=clips.output)
    GrokVideoGenerateOperator.partial(task_id="rows", retries=2).expand_kwargs(
        [
            {"prompt": "A", "duration": 2},
            {"prompt": "B", "model": "grok-imagine-video-1.5", "image": "s3://bucket/b.png"},
            {"prompt": "C", "duration": 2, "resubmit_on": ["unconfirmed"]},
        ]
    )
    GrokVideoGenerateOperator.partial(task_id="nobody").expand(prompt=[])

    @task_group
    def scene(seconds):
        shot = GrokVideoGenerateOperator(task_id="shot", prompt="A", duration=seconds)
        GrokVideoEditOperator(task_id="grade", prompt="Warmer", video=shot.output)

    scene.expand(seconds=[2, 5])

with DAG("unknown_lists", schedule="@daily"):

    @task
    def prompts() -> list[str]:
        raise RuntimeError("a task ran")

    @task
    def settings() -> list[dict]:
        raise RuntimeError("a task ran")

    found = GrokVideoGenerateOperator.partial(task_id="found").expand(prompt=prompts(), duration=[2, 5])
    GrokVideoEditOperator.partial(task_id="changed", prompt="In winter").expand(video=found.output)
    GrokVideoGenerateOperator.partial(task_id="free", resolution="480p").expand_kwargs(settings())
    GrokVideoGenerateOperator(task_id="single", prompt="A", duration=2)

    @task_group
    def film(prompt):
        GrokVideoGenerateOperator(task_id="take", prompt=prompt, duration=2)

    film.expand(prompt=prompts())
