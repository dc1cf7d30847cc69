"""A clip that xAI uploads to your bucket: no byte passes through a worker.

Teams with zero data retention need this. For others it is a safety net: if the response to a submission is lost, the
upload proves that it was accepted, so the task continues without you.

Cost: 0.25 USD at xAI. Change: the bucket, with the Airflow connection that may write to it, and the prompt.
"""

from airflow.sdk import DAG

from airflow_provider_grokvideo.operators.grokvideo import GrokVideoGenerateOperator

with DAG(
    "grokvideo_upload_to_s3",
    schedule=None,
    params={"output": "s3://aws_default@my-bucket/grokvideo"},
    tags=["grokvideo"],
    doc_md=__doc__,
):
    GrokVideoGenerateOperator(
        task_id="clip",
        prompt="A drone follows a train through a snowy valley",
        duration=5,
        destination="{{ params.output }}/train.mp4",
        deliver_via="upload",
        retries=2,
    )
