"""Tasks of a host: synthetic ones, and real processes that have memory of the emulated machine."""

from __future__ import annotations

from collections.abc import Callable

from fakecg.abi.errors import NoSuchTask, UsageError
from fakecg.cgroup.cgroup import Cgroup
from fakecg.cgroup.process import attach
from fakecg.cgroup.real_tasks import find_task
from fakecg.file_access import FileAccess
from fakecg.group import Group
from fakecg.mm.task_memory import TaskMemory
from fakecg.sched.clock import Clock
from fakecg.sched.task import HostTask, Task
from fakecg.sched.timer import TimerQueue
from fakecg.workload.content import ContentSpec
from fakecg.workload.job import Job, JobSpec


class HostJobs(FileAccess):
    """Who has memory, and what is done with it.

    Attributes:
        seed: of all contents and access patterns.
        jobs: live jobs by pid.
        task_memory: what jobs touch.
    """

    seed: int
    clock: Clock
    timers: TimerQueue
    task_memory: TaskMemory
    #: Runs the timers that are due, with the lock held.
    _run_due: Callable[[], None]

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[int, Job] = {}
        self._nr_adopted = 0

    def spawn(
        self,
        group: Group | Cgroup | str,
        *,
        size: str | int,
        content: str = "text",
        access: str = "once",
        cache: str | int | None = None,
        name: str | None = None,
        node: int | None = None,
        pid: int | None = None,
    ) -> Task:
        """Start a synthetic task; its first touch of its memory is over when this returns, unless it was throttled.

        Args:
            node: NUMA node its memory comes from; by default the first one with free memory.
            pid: of a real process, which is moved to the cgroup and whose memory this is as far as the tree goes: it is listed, and the
                memory is freed when it ends, or when the emulated kernel kills it.

        Raises:
            UsageError: bad size, content or access, no such node, the process has memory here already. NoSuchFile: no such cgroup.
            NoSuchTask: no such process. ControlError: the cgroup takes no tasks.
        """
        spec = JobSpec.simple(size=size, content=content, access=access, cache=cache, name=name, node=node)
        cgroup = group.cgroup if isinstance(group, Group) else group if isinstance(group, Cgroup) else self.lookup(group)
        return self.spawn_job(cgroup, spec, pid=pid)

    def spawn_job(self, group: Cgroup | str, spec: JobSpec, *, delay_ns: int = 0, oom_score_adj: int = 0, pid: int | None = None) -> Task:
        """Start a task for a job, whose first touch comes ``delay_ns`` later; errors as spawn."""
        cgroup = group if isinstance(group, Cgroup) else self.lookup(group)
        nr_nodes = self.machine.nr_nodes
        if spec.node is not None and not 0 <= spec.node < nr_nodes:
            raise UsageError(f"node: 0 to {nr_nodes - 1}, not {spec.node}")
        with self.locked():
            task = self._new_task(cgroup, spec.name) if pid is None else self._adopt_process(cgroup, pid)
            task.oom_score_adj = oom_score_adj
            self._nr_adopted += pid is not None
            seed = self.seed * 1_000_003 + (task.pid if pid is None else self._nr_adopted)
            mapping = None
            if spec.cache_pages:
                content = spec.regions[0].content if spec.regions else ContentSpec.parse("text")
                mapping = self.task_memory.create_file(spec.cache_pages, content, seed)
            job = Job.create(task, spec, self.task_memory, self.clock, self.timers, seed, mapping, delay_ns)
            self.jobs[task.pid] = job
            if spec.node is not None:
                for space in job.spaces:
                    space.node_of = bytes((spec.node,)) * space.nr_pages
            self._run_due()
            return task

    def _new_task(self, cgroup: Cgroup, name: str) -> Task:
        task = Task(self.hierarchy.new_pid(), name)
        self.machine.spaces.new_mm(task)
        task.on_kill = self._exit_task
        self.hierarchy.add_task(task, cgroup)
        return task

    def _adopt_process(self, cgroup: Cgroup, pid: int) -> Task:
        """Move a real process to a cgroup, and give it memory here."""
        task = find_task(self.hierarchy, pid)
        if task is None or task.is_zombie:
            raise NoSuchTask(f"no process {pid}")
        if not isinstance(task, HostTask) or task.mm is not None:
            raise UsageError(f"process {pid} has memory here already")
        if not task.is_leader or task.is_kthread:
            raise UsageError(f"{pid} is a thread, not a process")
        attach(self.hierarchy, task, cgroup, threadgroup=True)
        self.machine.spaces.new_mm(task)
        signal = task.on_kill

        def kill(killed: Task) -> None:
            # The memory does not wait until the process has noticed, nor does what reclaims for it.
            self._end_job(killed)
            if signal is not None:
                signal(killed)

        task.on_kill, task.on_exit = kill, self._end_job
        return task

    def _exit_task(self, task: Task) -> None:
        self._end_job(task)
        self.hierarchy.exit_task(task)
        self.hierarchy.reap_task(task)

    def _end_job(self, task: Task) -> None:
        job = self.jobs.pop(task.pid, None)
        if job is not None:
            job.stop()
        if task.mm is not None:
            self.machine.spaces.exit_mm(task.mm)

    def tasks(self) -> list[Task]:
        """Live tasks with memory here, oldest first."""
        with self.locked():
            return [job.task for job in self.jobs.values()]

    def kill(self, pid: int) -> None:
        """SIGKILL to a task with memory here; raises UsageError if there is none with this pid."""
        with self.locked():
            job = self.jobs.get(pid)
            if job is None:
                raise UsageError(f"no task {pid}", 1)
            job.task.kill()
            self.finish_works()
