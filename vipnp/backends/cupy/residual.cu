// Residual, drop path and the bias of a linear layer (vipnp/ops/residual.py, drop_path.py, linear.py); dropout
// (dropout.py); the two permutations (permute_height.py, permute_width.py); sums over rows; change of type.
//
// All of them are linear: what a kernel does to an entry, its gradient undergoes the other way.

// Rows that a block of sum_rows goes through at a time, one warp each.
constexpr int SUM_LANES = 16;

// y = x + (branch + bias) * scale[b],  b = row / tokens.
//
// x, branch, y (M, K); x, bias (K,) and mask may be null; y may be the memory of x or branch; VEC divides K.
// grid (ceil(K / (32 * VEC)), any), block (32, ROW_LANES).
template <typename T, int VEC>
__global__ void __launch_bounds__(32 * ROW_LANES)
residual_forward(const T* x, const T* branch, const Wide<T>* bias, const Wide<T>* mask, int mask_stride, Wide<T> factor,
                 T* y, int tokens, int M, int K) {
    using A = Wide<T>;
    const int k = (blockIdx.x * 32 + threadIdx.x) * VEC;
    if (k >= K) return;
    for (int row = blockIdx.y * ROW_LANES + threadIdx.y; row < M; row += gridDim.y * ROW_LANES) {
        const long long i = static_cast<long long>(row) * K + k;
        const A scale = branch_scale(mask, mask_stride, factor, row / tokens);
        A out[VEC] = {}, added[VEC];
        if (x) load<T, VEC>(x + i, out);
        load<T, VEC>(branch + i, added);
#pragma unroll
        for (int v = 0; v < VEC; ++v) out[v] += (added[v] + (bias ? bias[k + v] : A(0))) * scale;
        store<T, VEC>(y + i, out);
    }
}

// dbranch = dy * scale[b];  partial[y] = sums of dbranch over the rows of the blocks (., y): (gridDim.y, K).
//
// dy, dbranch (M, K); dbranch and partial may be null, not both; VEC divides K.
// grid (ceil(K / (32 * VEC)), any), block (32, ROW_LANES).
template <typename T, int VEC>
__global__ void __launch_bounds__(32 * ROW_LANES)
residual_backward(const T* dy, const Wide<T>* mask, int mask_stride, Wide<T> factor, T* dbranch,
                  Wide<T>* partial, int tokens, int M, int K) {
    using A = Wide<T>;
    const int k = (blockIdx.x * 32 + threadIdx.x) * VEC;
    A sum[VEC] = {};
    if (k < K)
        for (int row = blockIdx.y * ROW_LANES + threadIdx.y; row < M; row += gridDim.y * ROW_LANES) {
            const long long i = static_cast<long long>(row) * K + k;
            const A scale = branch_scale(mask, mask_stride, factor, row / tokens);
            A d[VEC];
            load<T, VEC>(dy + i, d);
#pragma unroll
            for (int v = 0; v < VEC; ++v) {
                d[v] *= scale;
                sum[v] += d[v];
            }
            if (dbranch) store<T, VEC>(dbranch + i, d);
        }
    if (!partial) return;
    SHARED(A, scratch, ROW_LANES * 32 * VEC);
#pragma unroll
    for (int v = 0; v < VEC; ++v) scratch[(threadIdx.y * 32 + threadIdx.x) * VEC + v] = sum[v];
    __syncthreads();
    if (threadIdx.y == 0 && k < K)
#pragma unroll
        for (int v = 0; v < VEC; ++v) {
            A total = 0;
#pragma unroll
            for (int lane = 0; lane < ROW_LANES; ++lane) total += scratch[(lane * 32 + threadIdx.x) * VEC + v];
            partial[static_cast<long long>(blockIdx.y) * K + k + v] = total;
        }
}

// y = x * mask * factor. x, y, mask (size,), VEC divides size; packs = size / VEC.
// grid ceil(packs / THREADS), block THREADS.
template <typename T, int VEC>
__global__ void __launch_bounds__(THREADS)
dropout(const T* x, const Wide<T>* mask, Wide<T> factor, T* y, long long packs) {
    const long long i = static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x;
    if (i >= packs) return;
    Wide<T> value[VEC];
    load<T, VEC>(x + i * VEC, value);
#pragma unroll
    for (int v = 0; v < VEC; ++v) value[v] *= mask[i * VEC + v] * factor;
    store<T, VEC>(y + i * VEC, value);
}

// out_k = sum over the rows of partial (P, K), in an order that depends on P alone. There is little to do and all of it
// waits for memory, so a block has many threads and each of them many loads at a time.
//
// grid ceil(K / 32), block (32, SUM_LANES).
template <typename A>
__global__ void __launch_bounds__(32 * SUM_LANES)
sum_rows(const A* partial, A* out, int P, int K) {
    const int k = blockIdx.x * 32 + threadIdx.x;
    A sum = 0;
    if (k < K)
#pragma unroll 8
        for (int row = threadIdx.y; row < P; row += SUM_LANES) sum += partial[static_cast<long long>(row) * K + k];
    SHARED(A, scratch, SUM_LANES * 32);
    scratch[threadIdx.y * 32 + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && k < K) {
        A total = 0;
#pragma unroll
        for (int lane = 0; lane < SUM_LANES; ++lane) total += scratch[lane * 32 + threadIdx.x];
        out[k] = total;
    }
}

// y[o, j, m, i, s] = x[o, i, m, j, s]: the height with the segments (m along the width), the width with them (one m).
//
// x (O, I, M, J, S), y (O, J, M, I, S); VEC divides S. grid O*J*M, block THREADS.
template <typename T, int VEC>
__global__ void __launch_bounds__(THREADS)
exchange(const T* x, T* y, int I, int M, int J, int S) {
    const int m = blockIdx.x % M, j = blockIdx.x / M % J, o = blockIdx.x / M / J;
    for (int e = threadIdx.x * VEC; e < I * S; e += THREADS * VEC) {
        const int i = e / S, s = e % S;
        const long long from = ((static_cast<long long>(o) * I + i) * M + m) * J + j;
        *reinterpret_cast<Pack<T, VEC>*>(y + static_cast<long long>(blockIdx.x) * I * S + e) =
            *reinterpret_cast<const Pack<T, VEC>*>(x + from * S + s);
    }
}

// y = x in the type To. x, y (size,), VEC divides size; packs = size / VEC. grid ceil(packs / THREADS), block THREADS.
template <typename From, typename To, int VEC>
__global__ void __launch_bounds__(THREADS)
convert(const From* x, To* y, long long packs) {
    const long long i = static_cast<long long>(blockIdx.x) * THREADS + threadIdx.x;
    if (i >= packs) return;
    Wide<From> value[VEC];
    load<From, VEC>(x + i * VEC, value);
    store<To, VEC>(y + i * VEC, value);
}
