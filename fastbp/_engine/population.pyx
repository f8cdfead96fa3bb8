"""Many networks of one shape in one call: those of a group are the lanes of its numbers.

    for every group, whichever thread takes it
        load        parameters and optimiser's state of its networks into the lanes
        for every mini-batch: the plan of one network, by the kernels of networks as lanes
        store       the same back to the networks

The steps are those of a network alone, and so is their order in each lane (N1): a network ends in
the bits that it has by itself. Where lanes do not pay, a group is one network with the kernels of
one, and is loaded without a copy. A thread takes group after group; one group is never shared.
"""

from libc.stdlib cimport calloc, free, qsort
from libc.string cimport memset

from fastbp._engine.epoch cimport add_update, new_epoch
from fastbp._engine.gradient cimport activate_output, add_loss_pass
from fastbp._engine.loop cimport carry_out_parts, run_within
from fastbp._engine.memory cimport aligned, new_memory, put_back
from fastbp._engine.network cimport PENALISED, bind_vector
from fastbp._engine.plan cimport Frame, Step, add_rows, end_block, h_of
from fastbp._engine.recursion cimport add_forward, clear
from fastbp._engine.samples cimport advance, gather_inputs, gathered_bytes
from fastbp._engine.signals cimport UNIT_WORK

cdef Py_ssize_t FIRST_ROW = 0       # an order of one row


# ---- plans ------------------------------------------------------------------------------

cdef int add_epoch(Plan* plan, int key) except -1:
    return add_update(plan, key)


cdef int add_gradients(Plan* plan, int key) except -1:
    return add_loss_pass(plan, key, True)


cdef int add_all_outputs(Plan* plan, int key) except -1:
    cdef Py_ssize_t L = plan.shape.n_layers, outputs = plan.shape.sizes[L]
    add_rows(plan, gather_inputs, 0, plan.shape.sizes[0])
    add_forward(plan)
    add_rows(plan, activate_output, L - 1, 1.0 + UNIT_WORK * outputs)
    if plan.shape.kernels.networks > 1:
        add_rows(plan, hand_out, L - 1, outputs)
    end_block(plan)
    return 0


cdef void hand_out(const Step* step, Frame* f) noexcept nogil:
    """h_L of some rows to the networks of the lanes."""
    cdef const Space* space = <const Space*> f.run.more
    cdef const Shape* s = f.run.shape
    cdef Py_ssize_t outputs = s.sizes[s.n_layers]
    cdef Py_ssize_t itemsize = s.itemsize // s.kernels.networks
    s.kernels.scatter(
        space.group.members.output + (f.block_start + f.at) * outputs * itemsize,
        space.output_offsets, h_of(f, step.layer), space.group.count, f.n * outputs)


# ---- where groups are -------------------------------------------------------------------

cdef enum:
    KINDS = 4               # of groups: together or alone, without a penalty or with one


cdef inline int kind_of(const Group* group) noexcept nogil:
    return 2 * group.penalised + (not group.together)


cdef inline Space* space_of(const Call* call, int kind, int thread) noexcept nogil:
    return &call.spaces[kind * call.places + thread]


cdef class ThreadSpaces:
    def __cinit__(self, Workspace together, Workspace alone):
        self.together, self.alone, self.workspaces = together, alone, []

    def __dealloc__(self):
        free(self.spaces)
        put_back(self.memory)

    cdef int provide(self, Call* call, const Group* groups, Py_ssize_t n_groups, int key,
                     Maker add_steps, Py_ssize_t rows, int threads) except -1:
        cdef bint[KINDS] found = [False, False, False, False]
        cdef Py_ssize_t g, needed = 0, most, at
        cdef int kind, place
        cdef Space* space
        cdef Workspace ws
        for g in range(n_groups):
            found[kind_of(&groups[g])] = True
        self.make_spaces(threads)
        call.spaces, call.places, call.shape = self.spaces, self.threads, self.together.shape
        memset(self.spaces, 0, KINDS * self.threads * sizeof(Space))
        for place in range(2 * self.threads):
            most = 0
            for kind in range(place // self.threads, KINDS, 2):
                if found[kind] and place % self.threads < threads:
                    space = space_of(call, kind, place % self.threads)
                    ws = self.workspaces[place]
                    ws.prepare(&space.run, key + (PENALISED if kind >= 2 else 0), add_steps, rows,
                               rows, 1)
                    most = max(most, self.place(NULL, space, kind % 2 == 0))
            needed += most
        if needed > self.nbytes:
            put_back(self.memory)
            self.memory, self.nbytes = NULL, 0
            self.memory = new_memory(needed)
            self.nbytes = needed
        at = 0
        for place in range(2 * self.threads):
            most = 0
            for kind in range(place // self.threads, KINDS, 2):
                space = space_of(call, kind, place % self.threads)
                if space.run.plan != NULL:
                    most = max(most, self.place(self.memory.at + at, space, kind % 2 == 0))
            at += most
        return 0

    cdef int make_spaces(self, int threads) except -1:
        """Workspaces of networks together come first, then those of one alone; for each thread."""
        cdef Space* spaces
        if threads > self.threads:
            workspaces = ([like(self.together) for _ in range(threads)]
                          + [like(self.alone) for _ in range(threads)])
            spaces = <Space*> calloc(KINDS * threads, sizeof(Space))
            if spaces == NULL:
                raise MemoryError
            free(self.spaces)
            self.workspaces, self.spaces, self.threads = workspaces, spaces, threads
        return 0

    cdef Py_ssize_t bytes_held(self):
        """The memory that `provide` has taken so far."""
        cdef Workspace ws
        cdef Py_ssize_t nbytes = self.nbytes
        for ws in self.workspaces:
            nbytes += ws.nbytes
        return nbytes

    cdef Py_ssize_t place(self, char* memory, Space* space, bint together) noexcept:
        """Point a space into `memory`, unless it is NULL; returns the bytes that it needs."""
        cdef const Shape* s = space.run.shape
        cdef Py_ssize_t vector = aligned(s.n_params * s.itemsize) if together else 0
        cdef Py_ssize_t gathered = aligned(gathered_bytes(s, space.run.plan.rows))
        if memory != NULL:
            space.run.batch.gathered = memory + 4 * vector
            if together:
                space.params, space.grad = memory, memory + vector
                space.m, space.v = memory + 2 * vector, memory + 3 * vector
        return 4 * vector + gathered


cdef Workspace like(Workspace ws):
    return Workspace(ws.architecture, ws.backward)


# ---- into the lanes, and back -----------------------------------------------------------

cdef inline void find(Py_ssize_t* offsets, const char* first, const char* at,
                      const char* first_order, const char* order) noexcept nogil:
    """How far behind those of the first network the arrays of another lie."""
    offsets[0] = <Py_ssize_t> at - <Py_ssize_t> first
    offsets[1] = <Py_ssize_t> order - <Py_ssize_t> first_order


cdef void load(Space* space, Group* group) noexcept nogil:
    cdef const Call* call = group.call
    cdef Member* first = group.members
    cdef Pass* run = &space.run
    cdef char* gathered = run.batch.gathered
    space.group = group
    run.batch = call.batch
    run.batch.X, run.batch.y, run.batch.sample_weight = first.X, first.y, first.sample_weight
    run.batch.order, run.batch.gathered = first.order + group.first, gathered
    run.batch_size = group.batch_size
    run.batch.criterion = run.shape.kernels.criteria[call.criterion]
    run.output_activation = call.output_activation
    run.more = &space.epoch if first.rule != NULL else <void*> space
    run.totals = space.totals
    if group.together:
        load_together(space, group)
        return
    space.totals[0].l2, space.totals[0].divisor = first.l2, first.divisor
    clear(space.totals)
    space.epoch = new_epoch(first.rule, &first.course)
    run.output = first.output
    bind_vector(run.layers, run.shape, first.params, first.grad)


cdef void load_together(Space* space, Group* group) noexcept nogil:
    """Lanes without a network of their own have the first one's once more."""
    cdef const Shape* s = space.run.shape
    cdef Member* first = group.members
    cdef Member* member
    cdef const char* order = <const char*> first.order
    cdef Py_ssize_t k
    for k in range(s.kernels.networks):
        member = first + k if k < group.count else first
        find(space.offsets + 2 * k, first.params, member.params, NULL, NULL)
        find(space.X_offsets + 2 * k, first.X, member.X, order, <const char*> member.order)
        find(space.y_offsets + 2 * k, first.y, member.y, order, <const char*> member.order)
        find(space.weight_offsets + 2 * k, first.sample_weight, member.sample_weight, order,
             <const char*> member.order)
        find(space.output_offsets + 2 * k, first.output, member.output, NULL, NULL)
        space.totals[k].l2, space.totals[k].divisor = member.l2, member.divisor
        clear(&space.totals[k])
        space.courses[k] = member.course
        if member.rule != NULL:
            space.rules[k] = member.rule[0]
    space.run.batch.X_offsets, space.run.batch.y_offsets = space.X_offsets, space.y_offsets
    space.run.batch.weight_offsets = space.weight_offsets
    space.epoch = new_epoch(&space.rules[0], &space.courses[0])
    bind_vector(space.run.layers, s, space.params, space.grad)
    s.kernels.gather(space.params, first.params, &FIRST_ROW, space.offsets, 1, s.n_params)
    if first.rule != NULL:
        space.rules[0].m = take_state(space, group, space.m, True)
        space.rules[0].v = take_state(space, group, space.v, False)


cdef inline char* state_of(const Member* member, bint m) noexcept nogil:
    return member.rule.m if m else member.rule.v


cdef char* take_state(Space* space, const Group* group, char* vector, bint m) noexcept nogil:
    """A vector of the optimiser's state into the lanes; NULL where it has none."""
    cdef Py_ssize_t[2 * MOST_LANES] offsets
    if state_of(group.members, m) == NULL:
        return NULL
    find_state(offsets, group, space.run.shape.kernels.networks, m)
    space.run.shape.kernels.gather(vector, state_of(group.members, m), &FIRST_ROW, offsets, 1,
                                   space.run.shape.n_params)
    return vector


cdef void find_state(Py_ssize_t* offsets, const Group* group, Py_ssize_t lanes,
                     bint m) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(lanes):
        find(offsets + 2 * k, state_of(group.members, m),
             state_of(group.members + (k if k < group.count else 0), m), NULL, NULL)


cdef void store(Space* space) noexcept nogil:
    """What the group has computed goes to its networks, and the space is empty."""
    cdef Group* group = space.group
    cdef Member* first = group.members
    cdef const Shape* s = space.run.shape
    cdef Py_ssize_t k
    for k in range(group.count):
        first[k].loss = space.totals[k].loss
    space.group = NULL
    if not group.together:
        return
    if first.rule != NULL:
        give_state(space, group, space.rules[0].m, True)
        give_state(space, group, space.rules[0].v, False)
        s.kernels.scatter(first.params, space.offsets, space.params, group.count, s.n_params)
        for k in range(group.count):
            first[k].course = space.courses[k]
            keep_progress(first[k].rule, &space.rules[k])
    if first.grad != NULL:
        for k in range(group.count):
            find(space.offsets + 2 * k, first.grad, first[k].grad, NULL, NULL)
        s.kernels.scatter(first.grad, space.offsets, space.grad, group.count, s.n_params)


cdef inline void keep_progress(Rule* rule, const Rule* stepped) noexcept nogil:
    """What steps change of a rule: somebody may have set its lr meanwhile."""
    rule.t, rule.rests = stepped.t, stepped.rests
    rule.power1, rule.power2 = stepped.power1, stepped.power2
    rule.rate, rule.scale = stepped.rate, stepped.scale


cdef void give_state(const Space* space, const Group* group, const char* vector,
                     bint m) noexcept nogil:
    cdef Py_ssize_t[2 * MOST_LANES] offsets
    if vector != NULL:
        find_state(offsets, group, group.count, m)
        space.run.shape.kernels.scatter(state_of(group.members, m), offsets, vector, group.count,
                                        space.run.shape.n_params)


# ---- a call -----------------------------------------------------------------------------

cdef void run_chunk(const Step* step, Frame* f) noexcept nogil:
    """The next mini-batches of a group or its tails; nothing once these have ended.

    Every group counts as many chunks as the one that has most.
    """
    cdef Group* head = (<Group**> f.run.more)[f.part]
    cdef Group* group = head + head.turn
    cdef Space* space
    if head.turn > head.tails:
        return
    space = space_of(group.call, kind_of(group), f.thread)
    if space.group == NULL:
        load(space, group)
    space.run.n = min(group.chunk, group.end - group.first)
    if run_within(f, &space.run):
        return
    advance(&space.run.batch, space.run.shape, space.run.n)
    group.first += space.run.n
    if group.first == group.end:
        store(space)
        head.turn += 1


cdef Py_ssize_t chunks_of(const Group* head) noexcept nogil:
    cdef Py_ssize_t chunks = 0
    cdef const Group* group
    cdef int turn
    for turn in range(head.tails + 1):
        group = head + turn
        chunks += max((group.end - group.first + group.chunk - 1) // group.chunk,
                      <Py_ssize_t> 1)
    return chunks


cdef int carry_out_groups(Group** groups, int n_groups, int threads) except -1:
    """Groups with the most work come first, so that threads end at about the same time."""
    cdef Py_ssize_t chunks = 1
    cdef double work = 0
    cdef int g
    qsort(groups, n_groups, sizeof(Group*), more_work)
    for g in range(n_groups):
        chunks = max(chunks, chunks_of(groups[g]))
        work += groups[g].work
    return carry_out_parts(run_chunk, groups[0].call.shape.kernels, groups, n_groups, chunks,
                           work / n_groups / chunks, threads)


cdef int more_work(const void* one, const void* other) noexcept nogil:
    cdef double a = (<const Group* const*> one)[0].work, b = (<const Group* const*> other)[0].work
    return (a < b) - (a > b)


cdef void store_all(Call* call) noexcept:
    cdef int i
    for i in range(KINDS * call.places):
        if call.spaces[i].group != NULL:
            store(&call.spaces[i])
