// LayerNorm over the last axis, one warp a row, together with what stands before and after it in a stage:
// vipnp/ops/residual.py, drop_path.py, layer_norm.py, permute_height.py and permute_width.py in one pass.
//
// z = x + (branch + branch_bias) * scale[b] is the residual stream, xhat = (z - mean) * rstd,
// y = weight * xhat + bias, written in the layouts that the next linear layers read. With dy the sum of what these send
// back and d = dy * weight, dz has three terms of the LayerNorm and one of the stream:
//   1. rstd * d                        from xhat's z itself
//   2. -rstd * mean(d)                 from the mean
//   3. -rstd * xhat * mean(d * xhat)   from rstd
//   4. dresidual                       what reaches z past the LayerNorm
// and dx = dz, dbranch = dz * scale[b], dbranch_bias the sum of dbranch over the rows.

constexpr int WARPS = 4;

// x, branch, z (M, C), M = B*H*W; scale as in branch_scale. branch, branch_bias, mask may be null, z too where branch is.
// y in the layouts CHANNEL, HEIGHT, WIDTH; any may be null. mean, rstd (M,).
// grid ceil(M / WARPS), block WARPS * 32; C <= 32 * VEC * CHUNKS, VEC divides C and, for the permuted layouts, S.
template <typename T, int VEC, int CHUNKS>
__global__ void __launch_bounds__(WARPS * 32)
norm_forward(const T* x, const T* branch, const Wide<T>* branch_bias, const Wide<T>* mask, int mask_stride,
             Wide<T> factor, const Wide<T>* weight, const Wide<T>* bias, Wide<T> eps, T* z, T* y, T* y_height,
             T* y_width, Wide<T>* mean_out, Wide<T>* rstd_out, int M, int H, int W, int C, int S) {
    using A = Wide<T>;
    const int lane = threadIdx.x % 32;
    const int row = blockIdx.x * WARPS + threadIdx.x / 32;
    if (row >= M) return;
    const A inverse_C = A(1) / C;
    const long long offset = static_cast<long long>(row) * C;
    const int b = row / (H * W);
    const int token = row % (H * W), h = token / W, w = token % W;

    A value[CHUNKS][VEC];
    A sum = 0;
    const A scale = branch ? branch_scale(mask, mask_stride, factor, b) : A(0);
#pragma unroll
    for (int k = 0; k < CHUNKS; ++k) {
        const int c = (k * 32 + lane) * VEC;
        if (c < C) {
            load<T, VEC>(x + offset + c, value[k]);
            if (branch) {
                A added[VEC];
                load<T, VEC>(branch + offset + c, added);
#pragma unroll
                for (int v = 0; v < VEC; ++v)
                    value[k][v] += (added[v] + (branch_bias ? branch_bias[c + v] : A(0))) * scale;
                store<T, VEC>(z + offset + c, value[k]);
            }
#pragma unroll
            for (int v = 0; v < VEC; ++v) sum += value[k][v];
        }
    }
    const A mean = warp_sum(sum) * inverse_C;

    A squares = 0;
#pragma unroll
    for (int k = 0; k < CHUNKS; ++k)
        if ((k * 32 + lane) * VEC < C)
#pragma unroll
            for (int v = 0; v < VEC; ++v) {
                value[k][v] -= mean;
                squares += value[k][v] * value[k][v];
            }
    const A rstd = reciprocal_root(warp_sum(squares) * inverse_C + eps);

    Walk<VEC> walk(b, h, w, lane, H, W, C, S);
#pragma unroll
    for (int k = 0; k < CHUNKS; ++k) {
        const int c = (k * 32 + lane) * VEC;
        if (c < C) {
#pragma unroll
            for (int v = 0; v < VEC; ++v) value[k][v] = weight[c + v] * (value[k][v] * rstd) + bias[c + v];
            if (y) store<T, VEC>(y + offset + c, value[k]);
            if (y_height) store<T, VEC>(y_height + walk.height(), value[k]);
            if (y_width) store<T, VEC>(y_width + walk.width(), value[k]);
        }
        walk.advance();
    }
    if (lane == 0) {
        mean_out[row] = mean;
        rstd_out[row] = rstd;
    }
}

// Adds up, over the warps of the block, what each lane holds for its columns; writes them to out (C,).
template <typename A, int VEC, int CHUNKS, typename Scratch>
__device__ __forceinline__ void write_row_sums(const A (&sums)[CHUNKS][VEC], Scratch& scratch, A* out, int C) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    constexpr int COLUMNS = 32 * VEC * CHUNKS;
    __syncthreads();
#pragma unroll
    for (int k = 0; k < CHUNKS; ++k)
#pragma unroll
        for (int v = 0; v < VEC; ++v) scratch[warp * COLUMNS + (k * 32 + lane) * VEC + v] = sums[k][v];
    __syncthreads();
    for (int c = threadIdx.x; c < C; c += WARPS * 32) {
        A total = 0;
#pragma unroll
        for (int other = 0; other < WARPS; ++other) total += scratch[other * COLUMNS + c];
        out[c] = total;
    }
}

// dx = dz, terms 1 to 4, and dbranch = dx * scale[b].
// partial[block] = sums over the rows of this block of (dy * xhat, dy, dbranch): (gridDim.x, sums, C), sums 2 or 3, its
// rows `pitch` apart.
// What norm_forward gave is written once more, so that nobody has to keep it: y, y_height, y_width (M, C).
//
// dy_channel, dy_height, dy_width (M, C) in their layouts, any may be null, as may y, y_height, y_width; z, dresidual,
// dx, dbranch (M, C), dresidual and dbranch may be null, and dx may be the memory of dy_channel or dresidual.
// mean, rstd (M,).
// grid any, block WARPS * 32; VEC and CHUNKS as in norm_forward.
template <typename T, int VEC, int CHUNKS>
__global__ void __launch_bounds__(WARPS * 32)
norm_backward(const T* dy_channel, const T* dy_height, const T* dy_width, const T* z, const Wide<T>* mean,
              const Wide<T>* rstd, const Wide<T>* weight, const Wide<T>* bias, const T* dresidual, const Wide<T>* mask,
              int mask_stride, Wide<T> factor, T* dx, T* dbranch, T* y, T* y_height, T* y_width,
              Wide<T>* partial, int pitch, int sums, int M, int H, int W, int C, int S) {
    using A = Wide<T>;
    const int lane = threadIdx.x % 32;
    const A inverse_C = A(1) / C;
    A dweight[CHUNKS][VEC] = {}, dbias[CHUNKS][VEC] = {}, dbranch_bias[CHUNKS][VEC] = {};

    for (int row = blockIdx.x * WARPS + threadIdx.x / 32; row < M; row += gridDim.x * WARPS) {
        const long long offset = static_cast<long long>(row) * C;
        const int b = row / (H * W);
        const int token = row % (H * W), h = token / W, w = token % W;
        const A row_mean = mean[row], row_rstd = rstd[row];
        A xhat[CHUNKS][VEC], d[CHUNKS][VEC];
        A sum_d = 0, sum_dxhat = 0;
        Walk<VEC> from(b, h, w, lane, H, W, C, S);
#pragma unroll
        for (int k = 0; k < CHUNKS; ++k) {
            const int c = (k * 32 + lane) * VEC;
            if (c < C) {
                A other[VEC];
#pragma unroll
                for (int v = 0; v < VEC; ++v) d[k][v] = 0;
                if (dy_channel) load<T, VEC>(dy_channel + offset + c, d[k]);
                if (dy_height) {
                    load<T, VEC>(dy_height + from.height(), other);
#pragma unroll
                    for (int v = 0; v < VEC; ++v) d[k][v] += other[v];
                }
                if (dy_width) {
                    load<T, VEC>(dy_width + from.width(), other);
#pragma unroll
                    for (int v = 0; v < VEC; ++v) d[k][v] += other[v];
                }
                load<T, VEC>(z + offset + c, xhat[k]);
#pragma unroll
                for (int v = 0; v < VEC; ++v) {
                    xhat[k][v] = (xhat[k][v] - row_mean) * row_rstd;
                    dweight[k][v] += d[k][v] * xhat[k][v];
                    dbias[k][v] += d[k][v];
                    d[k][v] *= weight[c + v];
                    sum_d += d[k][v];
                    sum_dxhat += d[k][v] * xhat[k][v];
                }
            }
            from.advance();
        }
        const A mean_d = warp_sum(sum_d) * inverse_C, mean_dxhat = warp_sum(sum_dxhat) * inverse_C;
        const A scale = branch_scale(mask, mask_stride, factor, b);
        Walk<VEC> to(b, h, w, lane, H, W, C, S);
#pragma unroll
        for (int k = 0; k < CHUNKS; ++k) {
            const int c = (k * 32 + lane) * VEC;
            if (c < C) {
                A out[VEC];
#pragma unroll
                for (int v = 0; v < VEC; ++v) out[v] = row_rstd * (d[k][v] - mean_d - xhat[k][v] * mean_dxhat);
                if (dresidual) {
                    A skip[VEC];
                    load<T, VEC>(dresidual + offset + c, skip);
#pragma unroll
                    for (int v = 0; v < VEC; ++v) out[v] += skip[v];
                }
                store<T, VEC>(dx + offset + c, out);
#pragma unroll
                for (int v = 0; v < VEC; ++v) {
                    out[v] *= scale;
                    dbranch_bias[k][v] += out[v];
                }
                if (dbranch) store<T, VEC>(dbranch + offset + c, out);
#pragma unroll
                for (int v = 0; v < VEC; ++v) out[v] = weight[c + v] * xhat[k][v] + bias[c + v];
                if (y) store<T, VEC>(y + offset + c, out);
                if (y_height) store<T, VEC>(y_height + to.height(), out);
                if (y_width) store<T, VEC>(y_width + to.width(), out);
            }
            to.advance();
        }
    }

    SHARED(A, scratch, WARPS * 32 * VEC * CHUNKS);
    A* const out = partial + static_cast<long long>(blockIdx.x) * pitch;
    write_row_sums<A, VEC, CHUNKS>(dweight, scratch, out, C);
    write_row_sums<A, VEC, CHUNKS>(dbias, scratch, out + C, C);
    if (sums == 3) write_row_sums<A, VEC, CHUNKS>(dbranch_bias, scratch, out + 2 * C, C);
}
