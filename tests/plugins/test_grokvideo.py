"""What Airflow is told of the Video tab."""

from __future__ import annotations

from airflow_provider_grokvideo.decorators.grokvideo import GrokVideoDecoratedOperator
from airflow_provider_grokvideo.operators import grokvideo as operators
from airflow_provider_grokvideo.operators.base import GrokVideoPaidOperator
from airflow_provider_grokvideo.plugins.grokvideo import TASK_TYPES, GrokVideoPlugin
from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor


def test_the_tab_is_on_every_task_type_of_ours():
    """The names that the tab is shown for are those of all operators and sensors of the package."""
    classes = [each for each in vars(operators).values() if isinstance(each, type)]
    bases = {"GrokVideoBaseOperator", "GrokVideoPaidOperator"}
    ours = {each.__name__ for each in classes if issubclass(each, GrokVideoPaidOperator)} - bases
    (tab,) = [view for view in GrokVideoPlugin.external_views if view["destination"] == "task_instance"]

    assert ours | {GrokVideoSensor.__name__, GrokVideoDecoratedOperator.__name__} == set(TASK_TYPES)
    assert {"task_instance.operator": [*TASK_TYPES]} == tab["applies_to"]
