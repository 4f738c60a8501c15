"""Where a subtask runs: its index, the parallelism and the attempt."""

from pyflink.datastream import RuntimeContext


def task_place(context: RuntimeContext, mode: str) -> tuple[int, int, int]:
    """Return index, parallelism and attempt of this subtask.

    PyFlink 2.2 calls methods of the Java context that Flink 2.0 removed, so thread mode reads the task info itself.
    """
    task = context._runtime_context.getTaskInfo() if mode == "thread" else None  # noqa: SLF001
    if task is None:
        return (
            context.get_index_of_this_subtask(),
            context.get_number_of_parallel_subtasks(),
            context.get_attempt_number(),
        )
    return task.getIndexOfThisSubtask(), task.getNumberOfParallelSubtasks(), task.getAttemptNumber()
