// The emulator itself: compiled once for the same flags and linked to every library of kernels.
#define EMULATOR_RUNTIME
#include "cuda_emulator.h"

#include <map>
#include <numeric>
#include <random>
#include <vector>

#if defined(__x86_64__)
// swapcontext makes two system calls a switch; this saves the six callee-saved registers and makes none.
extern "C" void emulator_switch(void** save, void* load);
asm(R"(.pushsection .text
.globl emulator_switch
.hidden emulator_switch
.type emulator_switch,@function
emulator_switch:
    pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
    movq %rsp,(%rdi); movq %rsi,%rsp
    popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp; ret
.size emulator_switch,.-emulator_switch
.popsection)");
namespace emulator {
struct Context {
    void* stack_pointer = nullptr;
};
void switch_context(Context* from, Context* to) { emulator_switch(&from->stack_pointer, to->stack_pointer); }
void make_context(Context* context, char* stack, size_t size, void (*entry)()) {
    void** top = reinterpret_cast<void**>((reinterpret_cast<uintptr_t>(stack) + size) & ~uintptr_t{15});
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(entry);
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    context->stack_pointer = top;
}
}  // namespace emulator
#else
#include <ucontext.h>
namespace emulator {
using Context = ucontext_t;
void switch_context(Context* from, Context* to) { swapcontext(from, to); }
void make_context(Context* context, char* stack, size_t size, void (*entry)()) {
    getcontext(context);
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = size;
    context->uc_link = nullptr;
    ::makecontext(context, entry, 0);
}
}  // namespace emulator
#endif

namespace emulator {

constexpr int WARP = 32;
constexpr size_t STACK_BYTES = 64 * 1024;

struct Fiber {
    Context context;
    uint3 thread;
    int index, lane, warp;
    bool done, waiting;
    const unsigned* generation;  // of the barrier it waits at
    unsigned seen;               // that barrier's generation when it came
};

struct Barrier {
    int expected = 0, arrived = 0, line = 0;
    unsigned generation = 0;
};

struct Warp {
    Barrier barrier;
    unsigned memory_epoch = 0;  // how many __syncwarp it has passed
    alignas(16) unsigned char exchange[WARP][16];
};

Place place;

Fiber* current = nullptr;
void (*entry)(void**) = nullptr;
void** arguments = nullptr;
std::vector<Fiber> fibers;
std::vector<Warp> warps;
std::vector<char> stacks;
std::map<std::pair<const void*, int>, std::unique_ptr<SharedBase>> shared;
Context scheduler;
Barrier barrier;
size_t exited = 0;
std::string error;

void leave() { switch_context(&current->context, &scheduler); }

[[noreturn]] void fail(const std::string& what) {
    const uint3 t = current->thread;
    if (error.empty())
        error = what + " (thread " + std::to_string(t.x) + "," + std::to_string(t.y) + " of block " +
                std::to_string(place.block.x) + "," + std::to_string(place.block.y) + ")";
    for (;;) leave();
}

void wait_at(Barrier& barrier, int line, const char* name) {
    Fiber* self = current;
    if (barrier.arrived && barrier.line != line)
        fail(std::string(name) + " reached at line " + std::to_string(line) + " while others wait at line " +
             std::to_string(barrier.line));
    barrier.line = line;
    if (++barrier.arrived == barrier.expected) {
        barrier.arrived = 0;
        ++barrier.generation;
        return;
    }
    self->waiting = true;
    self->generation = &barrier.generation;
    self->seen = barrier.generation;
    leave();
}

void sync_threads(int line) {
    if (exited) fail("__syncthreads after a thread of the block has exited");
    wait_at(barrier, line, "__syncthreads");
}

void sync_warp(int line) {
    Warp& warp = warps[current->warp];
    const unsigned before = warp.barrier.generation;
    wait_at(warp.barrier, line, "__syncwarp");
    warp.memory_epoch = std::max(warp.memory_epoch, before + 1);
}

void fail(const char* what) { fail(std::string(what)); }

void fail_at_index(int i, int count) {
    fail("index " + std::to_string(i) + " into shared memory of " + std::to_string(count) + " elements");
}

void exchange(int line, unsigned mask, void* value, size_t bytes, int distance) {
    Warp& warp = warps[current->warp];
    const int lane = current->lane;
    if (mask != 0xffffffffu || warp.barrier.expected != WARP) fail("a shuffle needs all 32 lanes of its warp");
    if (distance <= 0 || distance >= WARP) fail("shuffle over a distance of " + std::to_string(distance));
    std::memcpy(warp.exchange[lane], value, bytes);
    wait_at(warp.barrier, line, "a shuffle");
    std::memcpy(value, warp.exchange[lane ^ distance], bytes);
    wait_at(warp.barrier, -line, "a shuffle");
}

Access this_access() {
    const Fiber* self = current;
    return {self->index, barrier.generation, warps[self->warp].memory_epoch};
}

bool ordered(const Access& before, const Access& now) {
    if (before.thread < 0 || before.thread == now.thread) return true;
    if (before.block_epoch != now.block_epoch) return true;
    return before.thread / WARP == now.thread / WARP && before.warp_epoch != now.warp_epoch;
}

std::unique_ptr<SharedBase>& shared_slot(const void* site, int line) { return shared[{site, line}]; }

void run_thread() {
    entry(arguments);
    ++exited;
    current->done = true;
    Barrier& warp = warps[current->warp].barrier;
    --warp.expected;
    if (warp.arrived && warp.arrived == warp.expected) error = "a lane exited while others wait at a warp barrier";
    if (barrier.arrived) error = "a thread exited while others wait at __syncthreads";
    for (;;) leave();
}

bool can_run(const Fiber& fiber) {
    return !fiber.done && !(fiber.waiting && *fiber.generation == fiber.seen);
}

bool run_block(std::mt19937& random) {
    const int threads = place.block_size.x * place.block_size.y * place.block_size.z;
    const int count = (threads + WARP - 1) / WARP;
    fibers.assign(threads, Fiber{});
    warps.assign(count, Warp{});
    stacks.resize(threads * STACK_BYTES);
    shared.clear();
    barrier = Barrier{};
    barrier.expected = threads;
    exited = 0;
    for (int i = 0; i < threads; ++i) {
        Fiber& fiber = fibers[i];
        const unsigned x = place.block_size.x, y = place.block_size.y;
        fiber.thread = uint3{i % x, i / x % y, i / (x * y)};
        fiber.index = i;
        fiber.lane = i % WARP;
        fiber.warp = i / WARP;
        ++warps[fiber.warp].barrier.expected;
        make_context(&fiber.context, &stacks[i * STACK_BYTES], STACK_BYTES, run_thread);
    }
    std::vector<int> warp_order(count), lane_order(WARP);
    std::iota(warp_order.begin(), warp_order.end(), 0);
    std::iota(lane_order.begin(), lane_order.end(), 0);
    std::shuffle(warp_order.begin(), warp_order.end(), random);
    std::shuffle(lane_order.begin(), lane_order.end(), random);
    while (exited < fibers.size()) {
        bool ran = false;
        for (int warp : warp_order)
            for (bool again = true; again;) {
                again = false;
                for (int lane : lane_order) {
                    const int i = warp * WARP + lane;
                    if (i >= threads || !can_run(fibers[i])) continue;
                    current = &fibers[i];
                    current->waiting = false;
                    place.thread = current->thread;
                    switch_context(&scheduler, &current->context);
                    ran = again = true;
                    if (!error.empty()) return false;
                }
            }
        if (!ran) {
            error = "deadlock: a barrier or shuffle was not reached by every thread";
            return false;
        }
    }
    return true;
}

std::string signature_of(const Parameter* parameters, size_t count) {
    std::string all;
    for (size_t i = 0; i < count; ++i) {
        const Parameter& each = parameters[i];
        if (each.only_read) all += "const ";
        if (each.is_class) all += "struct " + std::to_string(each.bytes) + " " + each.base;
        else all += each.base + (each.bytes ? std::to_string(8 * each.bytes) : "");
        all += each.pointer ? "*," : ",";
    }
    return all;
}

const char* run_grid(void (*kernel)(void**), const unsigned* grid, const unsigned* block_size, void** given,
                     unsigned seed) {
    static std::string message;
    entry = kernel;
    arguments = given;
    std::mt19937 random(seed);
    place.grid_size = dim3(grid[0], grid[1], grid[2]);
    place.block_size = dim3(block_size[0], block_size[1], block_size[2]);
    error.clear();
    std::vector<unsigned> order(size_t{grid[0]} * grid[1] * grid[2]);
    std::iota(order.begin(), order.end(), 0u);
    std::shuffle(order.begin(), order.end(), random);
    for (unsigned i : order) {
        place.block = uint3{i % grid[0], i / grid[0] % grid[1], i / (grid[0] * grid[1])};
        if (!run_block(random)) {
            message = error;
            std::vector<char>().swap(stacks);  // abandoned frames: their stacks are not used again
            return message.c_str();
        }
    }
    return nullptr;
}

}  // namespace emulator
