// The exact Gaussian error linear unit after a linear layer's bias.

constexpr int ROW_LANES = 8;

// y = u * Phi(u),  u = z + bias.
//
// z, y (M, K), bias (K,) or null; VEC divides K. grid (ceil(K / (32 * VEC)), any), block (32, ROW_LANES).
template <typename T, int VEC>
__global__ void __launch_bounds__(32 * ROW_LANES)
gelu_forward(const T* z, const Wide<T>* bias, T* y, int M, int K) {
    const int k = (blockIdx.x * 32 + threadIdx.x) * VEC;
    if (k >= K) return;
    for (int row = blockIdx.y * ROW_LANES + threadIdx.y; row < M; row += gridDim.y * ROW_LANES) {
        const long long i = static_cast<long long>(row) * K + k;
        Wide<T> u[VEC];
        load<T, VEC>(z + i, u);
#pragma unroll
        for (int v = 0; v < VEC; ++v) {
            if (bias) u[v] += bias[k + v];
            u[v] *= normal_cdf(u[v]);
        }
        store<T, VEC>(y + i, u);
    }
}

// dz = dy * (Phi(u) + u * phi(u)),  u = z + bias,  phi(u) = exp(-u^2 / 2) / sqrt(2 pi).
// partial[y] = sums of dz over the rows of the blocks (., y): (gridDim.y, K), or null where no bias was added.
// What gelu_forward gave is written once more, so that nobody has to keep it: y (M, K), or null.
//
// dy, z, dz (M, K), dz may be the memory of dy; bias (K,) or null; VEC divides K.
// grid (ceil(K / (32 * VEC)), any), block (32, ROW_LANES).
template <typename T, int VEC>
__global__ void __launch_bounds__(32 * ROW_LANES)
gelu_backward(const T* dy, const T* z, const Wide<T>* bias, T* dz, T* y, Wide<T>* partial, int M, int K) {
    using A = Wide<T>;
    const int k = (blockIdx.x * 32 + threadIdx.x) * VEC;
    A sum[VEC] = {};
    if (k < K) {
        A shift[VEC];
#pragma unroll
        for (int v = 0; v < VEC; ++v) shift[v] = bias ? bias[k + v] : A(0);
        for (int row = blockIdx.y * ROW_LANES + threadIdx.y; row < M; row += gridDim.y * ROW_LANES) {
            const long long i = static_cast<long long>(row) * K + k;
            A u[VEC], d[VEC];
            load<T, VEC>(z + i, u);
            load<T, VEC>(dy + i, d);
#pragma unroll
            for (int v = 0; v < VEC; ++v) {
                u[v] += shift[v];
                const A pdf = exponential(A(-0.5) * u[v] * u[v]) * A(0.39894228040143267794);
                const A cdf = normal_cdf(u[v]);
                d[v] *= cdf + u[v] * pdf;
                sum[v] += d[v];
                u[v] *= cdf;
            }
            store<T, VEC>(dz + i, d);
            if (y) store<T, VEC>(y + i, u);
        }
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
