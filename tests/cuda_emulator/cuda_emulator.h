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
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include <vector_functions.h>
#ifdef EMULATOR_RUNTIME
struct __half;
struct __nv_bfloat16;
#else
// CUDA's own headers give the exact rounding of __half and __nv_bfloat16 on the host. Their static functions become
// inline: g++ would write code for all of them, which takes longer than a kernel.
#define inline
#define static static __inline__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#undef static
#undef inline
#endif

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

namespace emulator {

struct SharedBase {
    virtual ~SharedBase() = default;
};

// What a kernel asks for: the thread that runs, its block and the grid.
struct Place {
    uint3 thread, block;
    dim3 block_size, grid_size;
};
extern Place place;

// A thread that met an error never runs on: the scheduler drops the whole block.
[[noreturn]] void fail(const char* what);
[[noreturn]] void fail_at_index(int i, int count);

void sync_threads(int line);
void sync_warp(int line);

// Puts the bytes of the lane at that distance in the place of these.
void exchange(int line, unsigned mask, void* value, size_t bytes, int distance);

template <typename T>
T shuffle_xor(int line, unsigned mask, T value, int distance) {
    exchange(line, mask, &value, sizeof(T), distance);
    return value;
}

// When an element of shared memory was touched, and by whom.
struct Access {
    int thread = -1;
    unsigned block_epoch = 0, warp_epoch = 0;
};

Access this_access();
bool ordered(const Access& before, const Access& now);

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
        if (i < 0 || i >= COUNT) fail_at_index(i, COUNT);
        return Element(*this, i);
    }
};

std::unique_ptr<SharedBase>& shared_slot(const void* site, int line);

// `site` tells the kernels of one template apart, `line` the arrays of one kernel.
template <typename T, int COUNT>
Shared<T, COUNT>& shared_array(const void* site, int line) {
    std::unique_ptr<SharedBase>& slot = shared_slot(site, line);
    if (!slot) slot = std::make_unique<Shared<T, COUNT>>();
    return static_cast<Shared<T, COUNT>&>(*slot);
}

// What a parameter is; `base` names the class where it is one.
struct Parameter {
    bool pointer, only_read;
    const char* base;
    size_t bytes;
    bool is_class;
};

template <typename T>
Parameter parameter() {
    using V = std::remove_pointer_t<T>;
    using Plain = std::remove_cv_t<V>;
    const bool pointer = std::is_pointer_v<T>, only_read = pointer && std::is_const_v<V>;
    if constexpr (std::is_same_v<Plain, __half>) return {pointer, only_read, "float", 2, false};
    else if constexpr (std::is_same_v<Plain, __nv_bfloat16>) return {pointer, only_read, "bfloat", 2, false};
    else if constexpr (std::is_same_v<Plain, bool>) return {pointer, only_read, "bool", 0, false};
    else if constexpr (std::is_floating_point_v<Plain>) return {pointer, only_read, "float", sizeof(V), false};
    else if constexpr (std::is_integral_v<Plain>)
        return {pointer, only_read, std::is_unsigned_v<Plain> ? "uint" : "int", sizeof(V), false};
    else return {pointer, only_read, typeid(Plain).name(), sizeof(V), true};
}

// "float32*", "const float32*" for a pointer that is only read, "int32"; a class is "struct", its size and mangled name.
std::string signature_of(const Parameter* parameters, size_t count);

// Runs the grid, blocks in an order drawn from the seed; nullptr, or what went wrong.
const char* run_grid(void (*kernel)(void**), const unsigned* grid, const unsigned* block_size, void** arguments,
                     unsigned seed);

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
        const Parameter all[] = {parameter<std::remove_cv_t<P>>()...};
        static const std::string text = signature_of(all, sizeof...(P));
        return text.c_str();
    }

    static const char* run(const unsigned* grid, const unsigned* block_size, void** arguments, unsigned seed) {
        return run_grid(&entry, grid, block_size, arguments, seed);
    }
};

}  // namespace emulator

#define threadIdx (emulator::place.thread)
#define blockIdx (emulator::place.block)
#define blockDim (emulator::place.block_size)
#define gridDim (emulator::place.grid_size)
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
inline float normcdff(float x) { return static_cast<float>(0.5 * std::erfc(-x * 0.70710678118654752440)); }
inline double normcdf(double x) {
    return static_cast<double>(0.5L * std::erfc(-static_cast<long double>(x) * 0.70710678118654752440084436L));
}
using std::max;
using std::min;
