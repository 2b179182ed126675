"""Several processes that compute as one, started by torchrun on one machine or on many.

Outside ``processes()``, and without torchrun, every function here is that of one process which
is alone: sums are what they are, and nothing of ``torch.distributed`` is imported.

Small numbers and objects travel between processors (gloo), gradients on GPUs between these
(NCCL). What torchrun keeps over a restart of its processes, ``remember`` writes.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from torch import Tensor

from striate.errors import FailedElsewhere, RunError, StriateError
from striate.launching import attempt, is_launched

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

_Value = TypeVar("_Value")

# Gradients are added up in pieces of about this many numbers: few messages, little memory.
BUCKET = 4_000_000
_PREFIX = "striate"
# How often these processes have found one another: all count alike.
_JOINED = itertools.count()


@contextmanager
def processes() -> Iterator[None]:
    """Compute together with the other processes of a torchrun job inside the block.

    The first process that fails says why; all others end with ``FailedElsewhere``. Inside
    another such block, and without torchrun, it does nothing.

    Raises:
        RunError: The processes do not find one another.
        FailedElsewhere: Another process failed.
    """
    if _group() is not None or not is_launched():
        yield
        return
    store = _join()
    try:
        yield
        wait()
    except BaseException as error:
        if store.add("failures", 1) == 1:
            raise
        code = 130 if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 1)
        raise FailedElsewhere("another process failed and has said why", code) from None
    finally:
        torch.distributed.destroy_process_group()


def _join() -> "Store":
    """Find the other processes; give the table that they share."""
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    try:
        whole, number, count = next(iter(rendezvous("env://")))
        # torchrun's table outlives a restart, with the addresses of processes that are gone.
        store = PrefixStore(f"{_PREFIX} {attempt()} {next(_JOINED)}", whole)
        on_gpus = torch.cuda.is_available() and dist.is_nccl_available()
        backend = "cpu:gloo,cuda:nccl" if on_gpus else "gloo"
        dist.init_process_group(backend, store=store, rank=number, world_size=count)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise RunError(
            f"the processes do not find one another ({reason[:120]}); look at torchrun's "
            "--rdzv-endpoint and at the firewall between the machines"
        ) from error
    return store


def size() -> int:
    """Count the processes that compute together: 1 without torchrun."""
    group = _group()
    return 1 if group is None else int(group.size())


def rank() -> int:
    """Give this process's place among them, from 0."""
    group = _group()
    return 0 if group is None else int(group.rank())


def is_first() -> bool:
    """Say whether this is the process that writes and speaks."""
    return rank() == 0


def own_slice(count: int) -> slice:
    """Say which of so many rows, examples or images are this process's: equal parts in order.

    Example:
        >>> own_slice(7)  # alone
        slice(0, 7, None)
    """
    return share_of(count, (rank(), size()))


def share_of(count: int, share: tuple[int, int]) -> slice:
    """Give the rows of one process, of so many: a contiguous part, perhaps empty.

    Args:
        count: All rows.
        share: The process's place, and how many processes there are.

    Example:
        >>> [share_of(7, (place, 3)) for place in range(3)]
        [slice(0, 2, None), slice(2, 4, None), slice(4, 7, None)]
    """
    place, whole = share
    return slice(count * place // whole, count * (place + 1) // whole)


def add_up(values: Tensor) -> Tensor:
    """Add a tensor up over the processes; the sum is the same, to the bit, on all.

    Args:
        values: Of one shape everywhere; left as it is.

    Raises:
        RunError: A process is gone.
    """
    if size() == 1:
        return values
    import torch.distributed as dist

    total = values.detach().clone(memory_format=torch.contiguous_format)
    with _listening():
        dist.all_reduce(total)
    return total


class _Sum(torch.autograd.Function):
    """A sum over processes whose gradient is that of this process's own part."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        return add_up(values)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def total(values: Tensor) -> Tensor:
    """Add up parts of a loss over the processes, so that ``backward`` gives each its own share.

    What follows from the sum is the same on all processes; its gradients, added up over them,
    are those that one process would have.
    """
    return values if size() == 1 else cast(Tensor, _Sum.apply(values))  # type: ignore[no-untyped-call]


def gather(values: Tensor) -> Tensor:
    """Give a tensor of every process, stacked in the order of the processes.

    Args:
        values: Of one shape everywhere.

    Returns:
        ``(processes, *shape)``.
    """
    if size() == 1:
        return values.detach()[None]
    import torch.distributed as dist

    parts = [torch.empty_like(values, memory_format=torch.contiguous_format) for _ in range(size())]
    with _listening():
        dist.all_gather(parts, values.detach().contiguous())
    return torch.stack(parts)


def gather_objects(value: _Value) -> list[_Value]:
    """Give an object of every process, in their order."""
    if size() == 1:
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * size()
    with _listening():
        dist.all_gather_object(values, value)
    return values


def joined(values: list[_Value]) -> list[_Value]:
    """Put the lists of all processes together, in their order."""
    return [value for theirs in gather_objects(values) for value in theirs]


def in_shares(rows: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
    """Let each process score its part of the rows, each once; give all answers, in order.

    Args:
        rows: ``(N, *)``, the same everywhere, N at least 1.
        score: ``(n, *)`` to ``(n, K)`` for any n from 1.
    """
    if size() == 1:
        return score(rows)
    import torch.distributed as dist

    own = own_slice(len(rows))
    # A process without rows scores one to learn what answers look like, and drops it.
    answers = score(rows[own]) if own.stop > own.start else score(rows[:1])[:0]
    parts = []
    for place in range(size()):
        theirs = share_of(len(rows), (place, size()))
        part = answers.new_empty(theirs.stop - theirs.start, *answers.shape[1:])
        if place == rank():
            part.copy_(answers)
        with _listening():
            dist.broadcast(part, src=place)
        parts.append(part)
    return torch.cat(parts)


def from_first(make: Callable[[], _Value]) -> _Value:
    """Let the first process make something, and give it to all; a refusal is all the others' too.

    Raises:
        StriateError: What ``make`` raised.
    """
    if size() == 1:
        return make()
    import torch.distributed as dist

    box: list[Any] = [None, None]
    if rank() == 0:
        try:
            box[0] = make()
        except StriateError as error:
            box[1] = error
    with _listening():
        dist.broadcast_object_list(box, src=0)
    if box[1] is not None:
        raise box[1]
    return cast(_Value, box[0])


def wait() -> None:
    """Wait until every process is here."""
    if size() > 1:
        add_up(torch.zeros(1))


def require_equal(what: str, value: str, remedy: str) -> None:
    """Refuse to go on where a value is not the same on all processes.

    Raises:
        RunError: It differs.
    """
    values = gather_objects(value)
    differing = [place for place, other in enumerate(values) if other != values[0]]
    if differing:
        raise RunError(
            f"{what} of process {differing[0]} of {size()} differ from those of the first "
            f"({values[differing[0]][:12]}, not {values[0][:12]}); {remedy}"
        )


@torch.no_grad()
def add_up_gradients(parameters: Iterable[Tensor]) -> None:
    """Add the gradients of parameters up over the processes, a bucket at a time.

    Args:
        parameters: In one order everywhere; where one has no gradient, that counts as zeros.
    """
    if size() == 1:
        return
    import torch.distributed as dist

    pending = []
    for bucket in _buckets(parameters):
        gradients = [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            for parameter in bucket
        ]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        with _listening():
            pending.append((bucket, gradients, flat, dist.all_reduce(flat, async_op=True)))
    for bucket, gradients, flat, work in pending:
        with _listening():
            work.wait()
        sizes = [gradient.numel() for gradient in gradients]
        for parameter, gradient, part in zip(
            bucket, gradients, torch.split(flat, sizes), strict=True
        ):
            parameter.grad = gradient.copy_(part.view_as(gradient))


def _buckets(parameters: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Put parameters together, those of one kind and device, until a bucket is full."""
    bucket: list[Tensor] = []
    for parameter in parameters:
        alike = not bucket or (bucket[0].dtype, bucket[0].device) == (
            parameter.dtype,
            parameter.device,
        )
        if bucket and (not alike or sum(each.numel() for each in bucket) >= BUCKET):
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket


def remember(name: str, value: str) -> None:
    """Keep a word for the processes that torchrun starts in place of these, if some are killed."""
    table = _table()
    if table is not None:
        table.set(f"{_PREFIX} {name}", value)


def remembered(name: str) -> str | None:
    """Give what processes of this torchrun job kept under a name before they were killed."""
    table = _table()
    if table is None or not table.check([f"{_PREFIX} {name}"]):
        return None
    return bytes(table.get(f"{_PREFIX} {name}")).decode()


def _table() -> Any:
    """Give torchrun's own table, below the part of it that is of these processes."""
    if _group() is None:
        return None
    from torch.distributed.distributed_c10d import PrefixStore, _get_default_store

    store = _get_default_store()
    while isinstance(store, PrefixStore):
        store = store.underlying_store
    return store


def _group() -> Any:
    """Give the group of processes, or None where there is none."""
    dist = torch.distributed
    if not dist.is_available() or not dist.is_initialized():
        return None
    return dist.group.WORLD


@contextmanager
def _listening() -> Iterator[None]:
    """Say in one line that another process is gone."""
    try:
        yield
    except RuntimeError as error:
        raise RunError(
            f"one of the {size()} processes is gone; all that was saved is whole, and training "
            "goes on with `striate train --resume RUN`"
        ) from error
