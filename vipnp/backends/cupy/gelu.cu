// The exact Gaussian error linear unit after a linear layer's bias: vipnp/ops/gelu.py on rows (M, K).
//
// y = t * Phi(t),  t = u + bias, u what the layer's product gave. The derivative has two terms:
//   1. Phi(t)      from the factor t
//   2. t * phi(t)  from Phi

// The normal distribution at t: Phi(t) and phi(t) = exp(-t^2 / 2) / sqrt(2 pi).
template <typename A> struct Normal { A cdf, pdf; };

__device__ __forceinline__ Normal<double> normal(double t) {
    const double pdf = exp(-0.5 * t * t) * 0.39894228040143267794;
    return {normcdf(t), pdf};
}

// Phi(-a) = exp(-a^2 / 2) p(a) / q(a) for a >= 0: one exponential serves both. The coefficients are those of
// tools/phi_fit.py, whose relative error is below 6.4e-9 up to a = 15, where Phi(-a) is less than any float. `lost` is
// what the float `square` lacks of a^2. Beyond a = 40 the exponential is 0 anyway.
__device__ __forceinline__ Normal<float> normal(float t) {
    const float a = fminf(fabsf(t), 40.0f), square = a * a, lost = fmaf(a, a, -square);
    float power = expf(-0.5f * square);
    power = fmaf(-0.5f * lost, power, power);
    float p = 0.00415324048130937f;
    p = fmaf(p, a, 0.04088119650441579f);
    p = fmaf(p, a, 0.18396933480095778f);
    p = fmaf(p, a, 0.4392836816950103f);
    p = fmaf(p, a, 0.5000000031501315f);
    float q = 0.010410518357307288f;
    q = fmaf(q, a, 0.10248007955042096f);
    q = fmaf(q, a, 0.471409217268478f);
    q = fmaf(q, a, 1.2055490741862291f);
    q = fmaf(q, a, 1.6764523704038155f);
    q = fmaf(q, a, 1.0f);
    const float tail = power * __fdividef(p, q);
    return {t < 0 ? tail : 1 - tail, power * 0.39894228040143267794f};
}

// u, y (M, K), bias (K,) or null; VEC divides K. grid (ceil(K / (32 * VEC)), any), block (32, ROW_LANES).
template <typename T, int VEC>
__global__ void __launch_bounds__(32 * ROW_LANES)
gelu_forward(const T* u, const Wide<T>* bias, T* y, int M, int K) {
    const int k = (blockIdx.x * 32 + threadIdx.x) * VEC;
    if (k >= K) return;
    for (int row = blockIdx.y * ROW_LANES + threadIdx.y; row < M; row += gridDim.y * ROW_LANES) {
        const long long i = static_cast<long long>(row) * K + k;
        Wide<T> t[VEC];
        load<T, VEC>(u + i, t);
#pragma unroll
        for (int v = 0; v < VEC; ++v) {
            if (bias) t[v] += bias[k + v];
            t[v] *= normal(t[v]).cdf;
        }
        store<T, VEC>(y + i, t);
    }
}

// du = dy * (Phi(t) + t * phi(t)), terms 1 and 2.
// partial[y] = sums of du over the rows of the blocks (., y): (gridDim.y, K), its rows `pitch` apart, or null where no
// bias was added.
// What gelu_forward gave is written once more, so that nobody has to keep it: y (M, K), or null.
//
// dy, u, du (M, K), du may be the memory of dy; bias (K,) or null; VEC divides K.
// grid (ceil(K / (32 * VEC)), any), block (32, ROW_LANES).
template <typename T, int VEC>
__global__ void __launch_bounds__(32 * ROW_LANES)
gelu_backward(const T* dy, const T* u, const Wide<T>* bias, T* du, T* y, Wide<T>* partial, int pitch, int M,
              int K) {
    using A = Wide<T>;
    const int k = (blockIdx.x * 32 + threadIdx.x) * VEC;
    A sum[VEC] = {};
    if (k < K) {
        A shift[VEC];
#pragma unroll
        for (int v = 0; v < VEC; ++v) shift[v] = bias ? bias[k + v] : A(0);
        for (int row = blockIdx.y * ROW_LANES + threadIdx.y; row < M; row += gridDim.y * ROW_LANES) {
            const long long i = static_cast<long long>(row) * K + k;
            A t[VEC], d[VEC];
            load<T, VEC>(u + i, t);
            load<T, VEC>(dy + i, d);
#pragma unroll
            for (int v = 0; v < VEC; ++v) {
                t[v] += shift[v];
                const Normal<A> at = normal(t[v]);
                d[v] *= at.cdf + t[v] * at.pdf;
                sum[v] += d[v];
                t[v] *= at.cdf;
            }
            store<T, VEC>(du + i, d);
            if (y) store<T, VEC>(y + i, t);
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
            partial[static_cast<long long>(blockIdx.y) * pitch + k + v] = total;
        }
}
