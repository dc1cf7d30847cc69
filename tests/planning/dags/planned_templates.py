"""Arguments that are known, and arguments that are not."""

from airflow.sdk import DAG, Param, task

from airflow_provider_grokvideo.operators.grokvideo import (
    GrokVideoEditOperator,
    GrokVideoExtendOperator,
    GrokVideoGenerateOperator,
)

CALLS = []


def never_called(*args, **kwargs):
    CALLS.append(args)
    return "1"


class Short(GrokVideoGenerateOperator):
    """Its constructor decides."""

    def __init__(self, **kwargs):
        super().__init__(duration=2, **kwargs)


class Own(GrokVideoGenerateOperator):
    """Another request than its arguments say."""

    def build_request(self):
        never_called()


with DAG(
    "templates",
    schedule=None,
    user_defined_macros={"macro": never_called},
    user_defined_filters={"seconds": never_called, "int": never_called},
    params={"seconds": 5, "asked": Param(type="integer"), "limit": "0.30", "images": ["a.png", "b.png"]},
):

    @task
    def settings():
        never_called()

    known = settings()

    def clip(task_id, **words):
        return GrokVideoGenerateOperator(task_id=task_id, prompt="{{ ds }}", **words)

    clip("by_param", duration="{{ params.seconds }}")
    clip("by_own_param", duration="{{ params.seconds }}", params={"seconds": 3})
    clip("by_calculation", duration="{{ 2 * params.seconds }}")
    clip("by_choice", duration="{% if params.seconds > 4 %}4{% else %}2{% endif %}")
    clip("param_without_value", duration="{{ params.asked }}")
    clip("by_macro", duration="{{ macro() }}")
    clip("by_filter", duration="{{ params.seconds | seconds }}")
    clip("by_replaced_filter", duration="{{ params.seconds | int }}")
    clip("by_date", duration="{{ ds | length }}")
    clip("by_defined", duration="{% if ti is defined %}15{% else %}1{% endif %}")
    clip("by_default", duration="{{ dag_run | default(1) }}")
    clip("by_chance", duration="{{ [1, 15] | random }}")
    clip("by_variable", duration="{{ var.value.seconds }}")
    clip("by_function", duration=never_called)
    clip("by_task", duration=known["seconds"])
    clip("any_resolution", duration=5, resolution=known["resolution"])
    clip("any_model", duration=5, model=known["model"])
    clip("any_image", duration=5, image=known["image"])
    clip("any_references", duration=5, reference_images=known["images"])
    clip("some_references", duration=5, reference_images=[known["a"], "{{ var.value.b }}", "c.png"])
    clip("any_frames", duration=5, model="grok-imagine-video-1.5", keyframes=known["frames"])
    clip("unlisted", duration=5, model="grok-imagine-video-9")
    clip("limited", duration=known["seconds"], max_cost_usd="{{ params.limit }}")
    clip("too_dear", duration=15, max_cost_usd=0.3)
    clip("asks", duration=15, max_cost_usd=0.3, on_limit="ask")
    clip("limit_by_task", duration=5, max_cost_usd=known["limit"])
    clip("wrong", duration=60)
    Short(task_id="short", prompt="A")
    Short.partial(task_id="shorts").expand(prompt=["A", "B"])
    Own(task_id="own", prompt="A")
    GrokVideoEditOperator(task_id="edits_a_file", prompt="A", video="s3://bucket/a.mp4")
    GrokVideoExtendOperator(task_id="extends_a_file", prompt="A", video=known["video"], duration=known["seconds"])

with DAG("native", schedule=None, render_template_as_native_obj=True, params={"images": ["a.png", "b.png"]}):
    GrokVideoGenerateOperator(task_id="listed", prompt="A", duration=5, reference_images="{{ params.images }}")
