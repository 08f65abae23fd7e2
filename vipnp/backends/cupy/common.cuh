// What every kernel shares. T is the storage type of activations; sums, statistics and parameters are in Wide<T>:
// float, or double where T is double.
//
// Letters: B batch, H W grid of tokens, C channels in N = C/S segments of width S, K columns, M rows. Activations are
// (B, H, W, C) in one of three layouts, those that the linear layers of the three branches read as plain rows:
//   CHANNEL  (B, H, W, N*S)
//   HEIGHT   (B, N, W, H*S): y[b, n, w, h*S + s] = x[b, h, w, n*S + s]
//   WIDTH    (B, H, N, W*S): y[b, h, n, w*S + s] = x[b, h, w, n*S + s]
//
// No kernel adds to memory with atomics: partial sums go to their own rows of a buffer, and sum_rows adds these in a
// fixed order, so the same input gives the same bits.
#ifndef SHARED
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define SHARED(T, name, count) __shared__ T name[count]
#endif

// Threads of a block where a kernel goes through a flat array.
constexpr int THREADS = 256;
// Rows that a block of the kernels over columns goes through at a time, one warp each.
constexpr int ROW_LANES = 8;

enum Layout { CHANNEL = 0, HEIGHT = 1, WIDTH = 2 };

template <typename T> struct WideOf { using type = float; };
template <> struct WideOf<double> { using type = double; };
template <typename T> using Wide = typename WideOf<T>::type;

__device__ __forceinline__ float reciprocal_root(float x) { return 1 / sqrtf(x); }
__device__ __forceinline__ double reciprocal_root(double x) { return rsqrt(x); }
// 1/x for x > 0. A division of doubles is a call, around which registers spill; rsqrt is none.
__device__ __forceinline__ float reciprocal(float x) { return 1 / x; }
__device__ __forceinline__ double reciprocal(double x) { return rsqrt(x) * rsqrt(x); }
__device__ __forceinline__ float square_root(float x) { return sqrtf(x); }
__device__ __forceinline__ double square_root(double x) { return sqrt(x); }
__device__ __forceinline__ float exponential(float x) { return expf(x); }
__device__ __forceinline__ double exponential(double x) { return exp(x); }
__device__ __forceinline__ float logarithm(float x) { return logf(x); }
__device__ __forceinline__ double logarithm(double x) { return log(x); }

// VEC neighbours that are read or written by one instruction; their address is a multiple of their size.
template <typename T, int VEC> struct alignas(sizeof(T) * VEC) Pack { T element[VEC]; };

template <typename T, int VEC>
__device__ __forceinline__ void load(const T* from, Wide<T> (&to)[VEC]) {
    const Pack<T, VEC> pack = *reinterpret_cast<const Pack<T, VEC>*>(from);
#pragma unroll
    for (int v = 0; v < VEC; ++v) to[v] = static_cast<Wide<T>>(pack.element[v]);
}

// Stores `from` rounded to T, and puts the rounded values back into it.
template <typename T, int VEC>
__device__ __forceinline__ void store(T* to, Wide<T> (&from)[VEC]) {
    Pack<T, VEC> pack;
#pragma unroll
    for (int v = 0; v < VEC; ++v) {
        pack.element[v] = static_cast<T>(from[v]);
        from[v] = static_cast<Wide<T>>(pack.element[v]);
    }
    *reinterpret_cast<Pack<T, VEC>*>(to) = pack;
}

// The sum over the 32 lanes, the same bits in each of them.
template <typename A>
__device__ __forceinline__ A warp_sum(A value) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
    return value;
}

template <typename A>
__device__ __forceinline__ A warp_max(A value) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2)
        value = max(value, __shfl_xor_sync(0xffffffffu, value, distance));
    return value;
}

// What drop path and skip_lam make of a branch of sample b: mask[b] * factor, or factor where there is no mask.
template <typename A>
__device__ __forceinline__ A branch_scale(const A* mask, int mask_stride, A factor, int b) {
    return mask ? mask[static_cast<long long>(b) * mask_stride] * factor : factor;
}

// The channels that one lane of a warp holds, c = (k * 32 + lane) * VEC for k = 0, 1, ..., with where each stands in the
// permuted layouts of the token (b, h, w): one division for all of them instead of one a channel.
template <int VEC>
struct Walk {
    long long height_base, width_base;
    int height_step, width_step, n, s, next_n, next_s, S;

    __device__ __forceinline__ Walk(int b, int h, int w, int lane, int H, int W, int C, int S)
        : height_base(static_cast<long long>(b) * H * W * C + (w * H + h) * S),
          width_base((static_cast<long long>(b) * H + h) * W * C + w * S),
          height_step(W * H * S), width_step(W * S), n(lane * VEC / S), s(lane * VEC % S), next_n(32 * VEC / S),
          next_s(32 * VEC % S), S(S) {}

    __device__ __forceinline__ long long height() const { return height_base + n * height_step + s; }
    __device__ __forceinline__ long long width() const { return width_base + n * width_step + s; }
    __device__ __forceinline__ void advance() {
        n += next_n;
        s += next_s;
        if (s >= S) {
            s -= S;
            ++n;
        }
    }
};
