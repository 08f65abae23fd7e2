// A CUDA block on a CPU: lets g++ compile the project's kernels and runs them, one fiber for every CUDA thread.
//
// What it holds the kernels to, beyond their results:
//   - every thread of a block reaches the same __syncthreads, every lane of a warp the same __syncwarp or shuffle;
//   - shared memory is poisoned before each block, indices into it are checked, and two threads that touch an element
//     without a barrier between them, one of them writing, are a race;
//   - one warp runs as far as it can before the next, in an order drawn from a seed, as do the lanes and the blocks.
// What it cannot show: races between blocks in global memory, the memory model, limits of registers and shared memory,
// flushing of subnormals and contraction to FMA, speed.
#pragma once
#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

// CUDA's own headers give the exact rounding of __half and __nv_bfloat16 on the host.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <vector_functions.h>

#undef __device__
#undef __global__
#undef __forceinline__
#undef __launch_bounds__
#undef __shared__
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static  // blocks run one after another; CuPy's own kernels alone use it, ours say SHARED

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
inline void switch_context(Context* from, Context* to) { emulator_switch(&from->stack_pointer, to->stack_pointer); }
inline void make_context(Context* context, char* stack, size_t size, void (*entry)()) {
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
inline void switch_context(Context* from, Context* to) { swapcontext(from, to); }
inline void make_context(Context* context, char* stack, size_t size, void (*entry)()) {
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

struct SharedBase {
    virtual ~SharedBase() = default;
};

struct Block {
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    std::vector<char> stacks;
    std::map<std::pair<const void*, int>, std::unique_ptr<SharedBase>> shared;
    Context scheduler;
    Fiber* current = nullptr;
    Barrier barrier;
    uint3 index;
    dim3 block_size, grid_size;
    size_t exited = 0;
    std::string error;
    void (*entry)(void**) = nullptr;
    void** arguments = nullptr;
};
inline Block block;

inline void leave() { switch_context(&block.current->context, &block.scheduler); }

// A thread that met an error never runs on: the scheduler drops the whole block.
[[noreturn]] inline void fail(const std::string& what) {
    const uint3 t = block.current->thread;
    if (block.error.empty())
        block.error = what + " (thread " + std::to_string(t.x) + "," + std::to_string(t.y) + " of block " +
                      std::to_string(block.index.x) + "," + std::to_string(block.index.y) + ")";
    for (;;) leave();
}

inline void wait_at(Barrier& barrier, int line, const char* name) {
    Fiber* self = block.current;
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

inline void sync_threads(int line) {
    if (block.exited) fail("__syncthreads after a thread of the block has exited");
    wait_at(block.barrier, line, "__syncthreads");
}

inline void sync_warp(int line) {
    Warp& warp = block.warps[block.current->warp];
    const unsigned before = warp.barrier.generation;
    wait_at(warp.barrier, line, "__syncwarp");
    warp.memory_epoch = std::max(warp.memory_epoch, before + 1);
}

template <typename T>
T shuffle_xor(int line, unsigned mask, T value, int distance) {
    static_assert(sizeof(T) <= 16);
    Fiber* self = block.current;
    Warp& warp = block.warps[self->warp];
    if (mask != 0xffffffffu || warp.barrier.expected != WARP) fail("a shuffle needs all 32 lanes of its warp");
    if (distance <= 0 || distance >= WARP) fail("shuffle over a distance of " + std::to_string(distance));
    std::memcpy(warp.exchange[self->lane], &value, sizeof(T));
    wait_at(warp.barrier, line, "a shuffle");
    T result;
    std::memcpy(&result, warp.exchange[self->lane ^ distance], sizeof(T));
    wait_at(warp.barrier, -line, "a shuffle");
    return result;
}

// When an element of shared memory was touched, and by whom.
struct Access {
    int thread = -1;
    unsigned block_epoch = 0, warp_epoch = 0;
};

inline Access this_access() {
    const Fiber* self = block.current;
    return {self->index, block.barrier.generation, block.warps[self->warp].memory_epoch};
}

inline bool ordered(const Access& before, const Access& now) {
    if (before.thread < 0 || before.thread == now.thread) return true;
    if (before.block_epoch != now.block_epoch) return true;
    return before.thread / WARP == now.thread / WARP && before.warp_epoch != now.warp_epoch;
}

template <typename T, int COUNT>
class Shared : public SharedBase {
    T values_[COUNT];
    Access writer_[COUNT], reader_[COUNT], other_reader_[COUNT];

  public:
    Shared() { std::memset(static_cast<void*>(values_), 0xFF, sizeof(values_)); }

    class Element {
        Shared& array_;
        int i_;

      public:
        Element(Shared& array, int i) : array_(array), i_(i) {}
        operator T() const {
            const Access now = this_access();
            if (!ordered(array_.writer_[i_], now)) fail("race in shared memory: read without a barrier after a write");
            if (array_.reader_[i_].thread != now.thread) array_.other_reader_[i_] = array_.reader_[i_];
            array_.reader_[i_] = now;
            return array_.values_[i_];
        }
        Element& operator=(T value) {
            const Access now = this_access();
            if (!ordered(array_.writer_[i_], now)) fail("race in shared memory: two writes without a barrier");
            if (!ordered(array_.reader_[i_], now) || !ordered(array_.other_reader_[i_], now))
                fail("race in shared memory: write without a barrier after a read");
            array_.writer_[i_] = now;
            array_.values_[i_] = value;
            return *this;
        }
        Element& operator=(const Element& other) { return *this = static_cast<T>(other); }
    };

    Element operator[](int i) {
        if (i < 0 || i >= COUNT)
            fail("index " + std::to_string(i) + " into shared memory of " + std::to_string(COUNT) + " elements");
        return Element(*this, i);
    }
};

// `site` tells the kernels of one template apart, `line` the arrays of one kernel.
template <typename T, int COUNT>
Shared<T, COUNT>& shared_array(const void* site, int line) {
    std::unique_ptr<SharedBase>& slot = block.shared[{site, line}];
    if (!slot) slot = std::make_unique<Shared<T, COUNT>>();
    return static_cast<Shared<T, COUNT>&>(*slot);
}

inline void run_thread() {
    block.entry(block.arguments);
    ++block.exited;
    block.current->done = true;
    Barrier& warp = block.warps[block.current->warp].barrier;
    --warp.expected;
    if (warp.arrived && warp.arrived == warp.expected) block.error = "a lane exited while others wait at a warp barrier";
    if (block.barrier.arrived) block.error = "a thread exited while others wait at __syncthreads";
    for (;;) leave();
}

inline bool can_run(const Fiber& fiber) {
    return !fiber.done && !(fiber.waiting && *fiber.generation == fiber.seen);
}

inline bool run_block(std::mt19937& random) {
    const int threads = block.block_size.x * block.block_size.y * block.block_size.z;
    const int warps = (threads + WARP - 1) / WARP;
    block.fibers.assign(threads, Fiber{});
    block.warps.assign(warps, Warp{});
    block.stacks.resize(threads * STACK_BYTES);
    block.shared.clear();
    block.barrier = Barrier{};
    block.barrier.expected = threads;
    block.exited = 0;
    for (int i = 0; i < threads; ++i) {
        Fiber& fiber = block.fibers[i];
        const unsigned x = block.block_size.x, y = block.block_size.y;
        fiber.thread = uint3{i % x, i / x % y, i / (x * y)};
        fiber.index = i;
        fiber.lane = i % WARP;
        fiber.warp = i / WARP;
        ++block.warps[fiber.warp].barrier.expected;
        make_context(&fiber.context, &block.stacks[i * STACK_BYTES], STACK_BYTES, run_thread);
    }
    std::vector<int> warp_order(warps), lane_order(WARP);
    std::iota(warp_order.begin(), warp_order.end(), 0);
    std::iota(lane_order.begin(), lane_order.end(), 0);
    std::shuffle(warp_order.begin(), warp_order.end(), random);
    std::shuffle(lane_order.begin(), lane_order.end(), random);
    while (block.exited < block.fibers.size()) {
        bool ran = false;
        for (int warp : warp_order)
            for (bool again = true; again;) {
                again = false;
                for (int lane : lane_order) {
                    const int i = warp * WARP + lane;
                    if (i >= threads || !can_run(block.fibers[i])) continue;
                    block.current = &block.fibers[i];
                    block.current->waiting = false;
                    switch_context(&block.scheduler, &block.current->context);
                    ran = again = true;
                    if (!block.error.empty()) return false;
                }
            }
        if (!ran) {
            block.error = "deadlock: a barrier or shuffle was not reached by every thread";
            return false;
        }
    }
    return true;
}

// "float32*", "const float32*" for a pointer that is only read, "int32"; a class is "struct", its size and mangled name.
template <typename T>
std::string kind() {
    if constexpr (std::is_pointer_v<T>) {
        using V = std::remove_pointer_t<T>;
        return (std::is_const_v<V> ? "const " : "") + kind<std::remove_cv_t<V>>() + "*";
    } else if constexpr (std::is_same_v<T, __half>) return "float16";
    else if constexpr (std::is_same_v<T, __nv_bfloat16>) return "bfloat16";
    else if constexpr (std::is_same_v<T, bool>) return "bool";
    else if constexpr (std::is_floating_point_v<T>) return "float" + std::to_string(8 * sizeof(T));
    else if constexpr (std::is_integral_v<T>)
        return (std::is_unsigned_v<T> ? "uint" : "int") + std::to_string(8 * sizeof(T));
    else return "struct " + std::to_string(sizeof(T)) + " " + typeid(T).name();
}

template <auto KERNEL>
struct Launch;

template <typename... P, void (*KERNEL)(P...)>
struct Launch<KERNEL> {
    template <size_t... I>
    static void call(void** arguments, std::index_sequence<I...>) {
        KERNEL(*static_cast<std::remove_cv_t<P>*>(arguments[I])...);
    }
    static void entry(void** arguments) { call(arguments, std::index_sequence_for<P...>{}); }

    static const char* signature() {
        static const std::string text = [] {
            std::string all;
            ((all += kind<std::remove_cv_t<P>>(), all += ','), ...);
            return all;
        }();
        return text.c_str();
    }

    // Runs the grid, blocks in an order drawn from the seed; nullptr, or what went wrong.
    static const char* run(const unsigned* grid, const unsigned* block_size, void** arguments, unsigned seed) {
        static std::string message;
        std::mt19937 random(seed);
        block.grid_size = dim3(grid[0], grid[1], grid[2]);
        block.block_size = dim3(block_size[0], block_size[1], block_size[2]);
        block.entry = &entry;
        block.arguments = arguments;
        block.error.clear();
        std::vector<unsigned> order(size_t{grid[0]} * grid[1] * grid[2]);
        std::iota(order.begin(), order.end(), 0u);
        std::shuffle(order.begin(), order.end(), random);
        for (unsigned i : order) {
            block.index = uint3{i % grid[0], i / grid[0] % grid[1], i / (grid[0] * grid[1])};
            if (!run_block(random)) {
                message = block.error;
                std::vector<char>().swap(block.stacks);  // abandoned frames: their stacks are not used again
                return message.c_str();
            }
        }
        return nullptr;
    }
};

}  // namespace emulator

#define threadIdx (emulator::block.current->thread)
#define blockIdx (emulator::block.index)
#define blockDim (emulator::block.block_size)
#define gridDim (emulator::block.grid_size)
#define __syncthreads() emulator::sync_threads(__LINE__)
#define __syncwarp() emulator::sync_warp(__LINE__)
#define __shfl_xor_sync(mask, value, distance) emulator::shuffle_xor(__LINE__, mask, value, distance)
#define SHARED(T, name, count)                 \
    static const char name##_site = 0;         \
    auto& name = emulator::shared_array<T, (count)>(&name##_site, __LINE__)

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline double normcdf(double x) {
    return static_cast<double>(0.5L * std::erfc(-static_cast<long double>(x) * 0.70710678118654752440084436L));
}
using std::max;
using std::min;
