"""Where the tests find again what a task instance bought: the same words in its prompt and in its destination."""

from __future__ import annotations

import os

OUT = os.environ.get("GROKVIDEO_TEST_OUTPUT", "videos")

PLACE = "{{ dag.dag_id }}/{{ run_id }}/{{ ti.task_id }}/{{ ti.map_index }}"
"""Names a task instance; a prompt that begins with it makes a start that nobody else can have made."""

FILE = f"{OUT}/{PLACE}.mp4"
