"""The networks of one call, and which of them become the lanes of a vector together.

Those in one group are alike in what a step asks of all lanes at once: the rule of their optimizers,
a penalty or none, weights or none, the size of a mini-batch. They go together for as many rows as
the one with the fewest has in whole mini-batches; what is left of the others they take one by one.
"""

from libc.stdlib cimport calloc, free, qsort
from libc.string cimport memset

from fastbp._engine.arrays cimport data
from fastbp._engine.memory cimport aligned, borrow, put_back
from fastbp._engine.network cimport Architecture
from fastbp._engine.plan cimport Shape, threads_worth, work_of_rows
from fastbp._engine.population cimport carry_out_groups, store_all
from fastbp._kernels.table cimport OUTPUTS_TOGETHER

cdef enum:
    # Networks as lanes pay while the parameters, gradient and optimiser's state of them all are in
    # the second-level cache (`fastbp bench --population`), and more than half of the lanes taken.
    TOGETHER_BYTES = 1 << 20
    CHUNK_WORK = 1 << 20        # multiply-adds between two looks for signals, at least


cdef class Crew:
    def __cinit__(self, Network net, ThreadSpaces thread_spaces, Py_ssize_t most):
        cdef Py_ssize_t room = max(most, <Py_ssize_t> 1)
        cdef Py_ssize_t members = aligned(room * sizeof(Member))
        cdef Py_ssize_t groups = aligned(2 * room * sizeof(Group))      # each may have a tail
        self.net, self.thread_spaces, self.most = net, thread_spaces, most
        self.memory = borrow(members + groups + room * sizeof(Group*))
        self.members = <Member*> self.memory.at
        self.groups = <Group*> (self.memory.at + members)
        self.heads = <Group**> (self.memory.at + members + groups)

    def __dealloc__(self):
        if self.memory != NULL:
            put_back(self.memory)

    cdef Member* add(self, Py_ssize_t number, char* params, char* grad, Py_ssize_t n,
                     Py_ssize_t batch_size) except NULL:
        cdef Member* member = &self.members[self.count]
        if self.count == self.most:
            raise IndexError("more members than were said")
        self.count += 1
        memset(member, 0, sizeof(Member))
        member.number, member.params, member.grad = number, params, grad
        member.n, member.batch_size = n, batch_size
        return member

    cdef void read(self, Member* member, Given given, Py_ssize_t k):
        member.X, member.y = data(given.X) + k * given.X_step, data(given.y) + k * given.y_step
        if given.sample_weight is not None:
            member.sample_weight = data(given.sample_weight) + k * given.weight_step

    # ---- groups

    cdef int plan(self, int key, Maker add_steps, int products) except -1:
        cdef Py_ssize_t first = 0, end
        self.key, self.add_steps = key, add_steps
        self.n_groups = self.n_heads = 0
        if not sorted_already(self.members, self.count):
            qsort(self.members, self.count, sizeof(Member), in_order)
        while first < self.count:
            end = self.count
            while unlike(&self.members[first], &self.members[end - 1]) != 0:
                end -= 1
            self.group_alike(first, end)
            first = end
        self.work = self.work_of_members(products)
        return 0

    cdef double work_of_members(self, int products) noexcept:
        cdef Py_ssize_t k, n = -1
        cdef double work = 0, each = 0
        for k in range(self.count):
            if self.members[k].n != n:
                n = self.members[k].n
                each = work_of_rows(products, n, self.net.shape)
            work += each
        return work

    cdef void group_alike(self, Py_ssize_t first, Py_ssize_t end) noexcept:
        """Groups as large as there are lanes; a last one too if it takes more than half of them."""
        cdef const Shape* s = self.net.shape
        cdef Py_ssize_t lanes = self.thread_spaces.together.shape.kernels.networks, count, rows
        cdef Member* last
        cdef bint fits = (4 * s.n_params * s.itemsize * lanes <= TOGETHER_BYTES
                          and s.sizes[s.n_layers] <= OUTPUTS_TOGETHER)
        while first < end:
            count = min(lanes, end - first)
            while self.members[first + count - 1].batch_size != self.members[first].batch_size:
                count -= 1
            last = &self.members[first + count - 1]
            rows = last.n
            if self.members[first].n != last.n:
                rows -= rows % max(last.batch_size, <Py_ssize_t> 1)
            if not (fits and 2 * count > lanes):
                count, rows = 1, self.members[first].n
            self.add_group(first, count, count > 1, rows)
            first += count

    cdef void add_group(self, Py_ssize_t first, Py_ssize_t count, bint together,
                        Py_ssize_t end) noexcept:
        """A group for the rows up to `end`, and behind it one for what is left of each network."""
        cdef Member* member
        cdef Group* head = self.next_group(&self.members[first], count, together, 0, end)
        cdef Py_ssize_t k
        self.heads[self.n_heads] = head
        self.n_heads += 1
        for k in range(first, first + count):
            member = &self.members[k]
            if member.n > end:
                head.work += self.next_group(member, 1, False, end, member.n).work
                head.tails += 1

    cdef Group* next_group(self, Member* members, Py_ssize_t count, bint together,
                           Py_ssize_t first, Py_ssize_t end) noexcept:
        cdef Group* group = &self.groups[self.n_groups]
        cdef Py_ssize_t rows = members.batch_size, batches = 1
        cdef double work = 3 * self.net.shape.weights * max(rows, <Py_ssize_t> 1)
        self.n_groups += 1
        if rows < end - first:
            batches = max(<Py_ssize_t> (CHUNK_WORK / work), <Py_ssize_t> 1)
        group[0] = Group(call=&self.call, members=members, count=count, together=together,
                         penalised=members.l2 != 0, first=first, end=end, batch_size=rows,
                         chunk=max(batches * rows, <Py_ssize_t> 1), tails=0, turn=0,
                         work=3 * self.net.shape.weights * (end - first) * count)
        return group


cdef int unlike(const Member* a, const Member* b) noexcept nogil:
    """0 if both can be lanes of one group, else below or above 0, as `qsort` takes it.

    The members of a crew all have a rule, or none has.
    """
    cdef size_t one, other              # addresses: functions have no order in C
    cdef int differ = first_nonzero((a.l2 != 0) - (b.l2 != 0),
                                    (a.sample_weight != NULL) - (b.sample_weight != NULL))
    if differ == 0 and a.rule != NULL:
        one, other = <size_t> a.rule.advance, <size_t> b.rule.advance
        differ = first_nonzero((one > other) - (one < other), a.rule.nesterov - b.rule.nesterov)
        differ = first_nonzero(differ, (a.rule.momentum != 0) - (b.rule.momentum != 0))
        differ = first_nonzero(differ, (a.rule.weight_decay != 0) - (b.rule.weight_decay != 0))
    return differ


cdef inline int first_nonzero(int first, int second) noexcept nogil:
    return first if first != 0 else second


cdef int in_order(const void* one, const void* other) noexcept nogil:
    """For `qsort`: those alike side by side, the largest mini-batches and the most rows first."""
    cdef const Member* a = <const Member*> one
    cdef const Member* b = <const Member*> other
    cdef int differ = first_nonzero(unlike(a, b), (a.batch_size < b.batch_size)
                                    - (a.batch_size > b.batch_size))
    differ = first_nonzero(differ, (a.n < b.n) - (a.n > b.n))
    return first_nonzero(differ, (a.number > b.number) - (a.number < b.number))


cdef bint sorted_already(const Member* members, Py_ssize_t count) noexcept nogil:
    """As most are: alike in all but their numbers."""
    cdef Py_ssize_t k
    for k in range(1, count):
        if in_order(&members[k - 1], &members[k]) > 0:
            return False
    return True


# ---- all crews of a call ----------------------------------------------------------------

cdef ThreadSpaces new_thread_spaces(Network net, bint backward):
    cdef const Shape* s = net.shape
    cdef Py_ssize_t l
    together = Architecture(net.layer_sizes, [s.activations[l] for l in range(s.n_layers)],
                            net.dtype.itemsize, False, True)
    return ThreadSpaces(Workspace(together, backward), Workspace(net.architecture, backward))


cdef class JointPass:
    def __cinit__(self, list crews, int asked):
        cdef Crew crew
        cdef double work = 0
        cdef Py_ssize_t k, rows
        cdef int n_heads = 0
        self.crews = crews
        for crew in crews:
            work += crew.work
            n_heads += crew.n_heads
        self.threads = min(asked, n_heads) if asked > 0 else threads_worth(work, n_heads)
        self.threads = max(self.threads, 1)
        self.heads = <Group**> calloc(max(n_heads, 1), sizeof(Group*))
        if self.heads == NULL:
            raise MemoryError
        for crew in crews:
            rows = 0
            for k in range(crew.count):
                rows = max(rows, crew.members[k].batch_size)
            crew.thread_spaces.provide(&crew.call, crew.groups, crew.n_groups, crew.key,
                                       crew.add_steps, rows, self.threads)
            for k in range(crew.n_heads):
                self.heads[self.n_heads] = crew.heads[k]
                self.n_heads += 1

    def __dealloc__(self):
        free(self.heads)

    cdef int carry_out(self) except -1:
        cdef Crew crew
        if self.n_heads == 0:
            return 0
        try:
            carry_out_groups(self.heads, self.n_heads, self.threads)
        finally:
            for crew in self.crews:
                store_all(&crew.call)
        return 0
