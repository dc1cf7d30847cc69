"""Reviews of clips of known and unknown price."""

from airflow.sdk import DAG, task

from airflow_provider_grokvideo.operators.grokvideo import (
    GrokVideoEditOperator,
    GrokVideoGenerateOperator,
    GrokVideoReviewOperator,
)


@task
def somewhere():
    return {}


with DAG("reviewed", schedule=None, params={"takes": 4}):
    film = GrokVideoGenerateOperator(task_id="film", prompt="A cat", duration=2, destination="/tmp/a.mp4")
    several = GrokVideoReviewOperator(task_id="several", video=film.output, max_takes="{{ params.takes }}")
    GrokVideoReviewOperator(task_id="one", video=film.output, max_takes=1)
    GrokVideoReviewOperator(task_id="unknown", video=somewhere())
    GrokVideoEditOperator(task_id="edit", prompt="Snow", video=several.output)
    films = GrokVideoGenerateOperator.partial(task_id="films", duration=1, destination="/tmp/").expand(
        prompt=["A", "B"]
    )
    GrokVideoReviewOperator.partial(task_id="each", max_takes=2).expand(video=films.output)
