"""DAGs that buy nothing."""

from airflow.sdk import DAG, task

from airflow_provider_grokvideo.sensors.grokvideo import GrokVideoSensor

with DAG("others", schedule="@daily"):

    @task
    def nothing():
        raise RuntimeError("a task ran")

    nothing() >> GrokVideoSensor(task_id="wait", request_id="r-1")
