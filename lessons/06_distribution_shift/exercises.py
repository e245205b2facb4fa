# %% [markdown]
# # Distribution shift: exercises
#
# Answer each cell that says `YOUR CODE HERE`, run it, then run the check below
# it. A check names the likely mistake. Stuck? `hint("distribution_shift.mmd2")`
# gives one of three hints.
#
# Ten exercises, 32 points, and one question that a person marks. All inputs and
# results are tensors unless said otherwise; a scalar may also be a float where
# no gradient is asked. No input may be changed.

# %%
import torch

from tlcourse import check, hint, progress

# %% [markdown]
# ## 1. The Gaussian kernel
#
# Write `rbf_kernel(x, y, bandwidth)` for `x` $(n, d)$ and `y` $(m, d)$, float:
#
# $$K_{ij} = \frac1K\sum_{s}\exp\left(-\frac{\|x_i-y_j\|^2}{2\sigma_s^2}\right).$$
#
# - `bandwidth` is one number $\sigma$, or a list of them: the mean over their
#   kernels.
# - Returns $(n, m)$. Gradients flow to both samples, also where points coincide.
# - It must hold for close points far from the origin: float32, coordinates near
#   300, distances near 0.1.
# - `ValueError` for unequal widths, and for a bandwidth that is not $>0$.
#
# By hand: for $x=(0,0)$, $y=(1,1)$, $\sigma=1$ the kernel is
# $e^{-2/2}\approx 0.368$.


# %% answer="distribution_shift.rbf_kernel"
def rbf_kernel(x, y, bandwidth):
    ### BEGIN SOLUTION
    sigmas = bandwidth if isinstance(bandwidth, (list, tuple)) else [bandwidth]
    if x.shape[1] != y.shape[1]:
        raise ValueError("x and y need the same number of features")
    if min(sigmas) <= 0:
        raise ValueError("bandwidth must be > 0")
    squared = ((x[:, None, :] - y[None, :, :]) ** 2).sum(dim=2)
    total = 0
    for sigma in sigmas:
        total = total + torch.exp(-squared / (2 * sigma**2))
    return total / len(sigmas)
    ### END SOLUTION


# %% check="distribution_shift.rbf_kernel"
check("distribution_shift.rbf_kernel", rbf_kernel)

# %% [markdown]
# ## 2. The median heuristic
#
# Write `median_heuristic(x, y)`: the median **distance** (not squared) between
# two different samples of the pooled set. Every pair counts once, whether within
# `x`, within `y` or across; a sample with itself does not. Two different samples
# may be equal: their distance of 0 counts. The checks have an odd number of pairs,
# so that the median is one of them.
#
# - No gradient may flow through the result, to `x` or to `y`.
# - `ValueError` when the median is 0.
#
# By hand: $x=\{0,1\}$ and $y=\{3\}$ have the distances 1, 2, 3, so $\sigma=2$.


# %% answer="distribution_shift.median_heuristic"
def median_heuristic(x, y):
    ### BEGIN SOLUTION
    z = torch.cat([x, y]).detach()
    distances = (z[:, None] - z[None]).norm(dim=2)
    above = torch.ones_like(distances).triu(diagonal=1) == 1
    sigma = distances[above].median()
    if sigma == 0:
        raise ValueError("the samples are all alike")
    return sigma
    ### END SOLUTION


# %% check="distribution_shift.median_heuristic"
check("distribution_shift.median_heuristic", median_heuristic)

# %% [markdown]
# ## 3. MMD²
#
# Write `mmd2(x, y, bandwidth=None, unbiased=True)`. You may call your
# `rbf_kernel` and `median_heuristic`.
#
# $$\frac{1}{n(n-1)}\sum_{i\neq j}k(x_i,x_j)+\frac{1}{m(m-1)}\sum_{i\neq j}
# k(y_i,y_j)-\frac{2}{nm}\sum_{i,j}k(x_i,y_j)$$
#
# - `bandwidth`: one $\sigma$ or a list (mean over the kernels). With `None`, five:
#   $\sigma^2=\text{median}^2\cdot\{\tfrac14,\tfrac12,1,2,4\}$, and no gradient
#   flows through the median.
# - `unbiased=False`: the plain means of all three matrices.
# - Returns a scalar tensor that gradients flow through, to `x` and `y`. It may be
#   negative.
# - `ValueError` for unequal widths, and for fewer than two rows in `x` or `y` if
#   unbiased.

# %% [markdown]
# By hand: $x=\{0,1\}$, $y=\{0,1\}$ and $\sigma$ with $k(0,1)=c$. Unbiased:
# $c+c-2\cdot\frac{2+2c}{4}=c-1<0$. Biased:
# $\frac{2+2c}{4}+\frac{2+2c}{4}-2\cdot\frac{2+2c}{4}=0$.


# %% answer="distribution_shift.mmd2"
def mmd2(x, y, bandwidth=None, unbiased=True):
    ### BEGIN SOLUTION
    if unbiased and min(len(x), len(y)) < 2:
        raise ValueError("the unbiased form needs two rows in each sample")
    if bandwidth is None:
        sigma = float(median_heuristic(x, y))
        bandwidth = [sigma * factor**0.5 for factor in (0.25, 0.5, 1, 2, 4)]
    within = []
    for z in (x, y):
        k = rbf_kernel(z, z, bandwidth)
        n = len(z)
        if unbiased:
            within.append((k.sum() - k.diagonal().sum()) / (n * (n - 1)))
        else:
            within.append(k.mean())
    return within[0] + within[1] - 2 * rbf_kernel(x, y, bandwidth).mean()
    ### END SOLUTION


# %% check="distribution_shift.mmd2"
check("distribution_shift.mmd2", mmd2)

# %% [markdown]
# ## 4. MMD² in linear time
#
# Write `mmd_linear_time(x, y, bandwidth)`. Rows are taken in pairs of neighbours:
# the first and second, the third and fourth, and so on. An odd last row is left
# out. From pair $i$, with rows $x_1, x_2$ and $y_1, y_2$:
#
# $$h_i=k(x_1,x_2)+k(y_1,y_2)-k(x_1,y_2)-k(x_2,y_1).$$
#
# - Returns two numbers: the mean of the $h_i$, and the **variance of that mean**,
#   which is their sample variance (with $1/(N-1)$) divided by their number $N$.
# - `bandwidth`: one $\sigma$ or a list, as before.
# - `ValueError` for unequal numbers of rows, and for fewer than 4 rows.
#
# By hand: two pairs with $h=0.1$ and $0.5$ give $0.3$ and
# $0.08/2=0.04$.


# %% answer="distribution_shift.mmd_linear_time"
def mmd_linear_time(x, y, bandwidth):
    ### BEGIN SOLUTION
    if x.shape != y.shape or len(x) < 4:
        raise ValueError("x and y must have the same shape and at least 4 rows")
    sigmas = bandwidth if isinstance(bandwidth, (list, tuple)) else [bandwidth]

    def k(a, b):
        squared = ((a - b) ** 2).sum(dim=1)
        return sum(torch.exp(-squared / (2 * s**2)) for s in sigmas) / len(sigmas)

    last = len(x) - len(x) % 2
    x1, x2, y1, y2 = x[:last:2], x[1:last:2], y[:last:2], y[1:last:2]
    h = k(x1, x2) + k(y1, y2) - k(x1, y2) - k(x2, y1)
    return h.mean(), h.var() / len(h)
    ### END SOLUTION


# %% check="distribution_shift.mmd_linear_time"
check("distribution_shift.mmd_linear_time", mmd_linear_time)

# %% [markdown]
# ## 5. A permutation test
#
# Write `permutation_test(x, y, statistic, num_permutations, seed)`. `statistic`
# is a function of two samples that gives a float, large if they differ.
#
# - Each of the $B$ = `num_permutations` splits deals **all** pooled rows anew:
#   $n$ rows play `x`, $m$ rows play `y`, every way to do so is equally likely.
# - Returns three things: the statistic $T$ of `x` and `y` as they came; the
#   p-value $(1+\#\{b: T_b\ge T\})/(B+1)$, a float; and the null distribution, the
#   $B$ values $T_b$ as a list or tensor.
# - The seed alone decides the splits; another seed gives others. The random state
#   of the rest of the program stays as it was: that of torch, NumPy and `random`.
#
# By hand: $T=5$ and null values $1, 7, 5$ give $p=(1+2)/4=0.75$.


# %% answer="distribution_shift.permutation_test"
def permutation_test(x, y, statistic, num_permutations, seed):
    ### BEGIN SOLUTION
    generator = torch.Generator().manual_seed(seed)
    pooled, n = torch.cat([x, y]), len(x)
    observed = float(statistic(x, y))
    null = []
    for _ in range(num_permutations):
        order = torch.randperm(len(pooled), generator=generator)
        null.append(float(statistic(pooled[order[:n]], pooled[order[n:]])))
    extreme = sum(value >= observed for value in null)
    return observed, (1 + extreme) / (num_permutations + 1), null
    ### END SOLUTION


# %% check="distribution_shift.permutation_test"
check("distribution_shift.permutation_test", permutation_test)

# %% [markdown]
# ## 6. CORAL distance
#
# Write `coral_distance(source, target)` for $(n, d)$ and $(m, d)$:
#
# $$\frac{1}{4d^2}\,\|C_S-C_T\|_F^2,$$
#
# where $C$ is the sample covariance of the features, with $1/(n-1)$.
#
# - Returns a scalar tensor that gradients flow through, to both.
# - `ValueError` for unequal widths, and for fewer than two rows in either.
#
# By hand, with $d=1$: source $\{0,2\}$ has variance 2, target $\{0,4\}$ has 8; the
# distance is $36/4=9$.


# %% answer="distribution_shift.coral_distance"
def coral_distance(source, target):
    ### BEGIN SOLUTION
    if source.shape[1] != target.shape[1] or min(len(source), len(target)) < 2:
        raise ValueError("same number of features, and at least two rows each")
    covariances = []
    for z in (source, target):
        z = z - z.mean(dim=0)
        covariances.append(z.T @ z / (len(z) - 1))
    d = source.shape[1]
    return ((covariances[0] - covariances[1]) ** 2).sum() / (4 * d**2)
    ### END SOLUTION


# %% check="distribution_shift.coral_distance"
check("distribution_shift.coral_distance", coral_distance)

# %% [markdown]
# ## 7. Proxy A-distance
#
# Write `proxy_a_distance(source, target, fit, seed)`. `fit(x, labels)` trains a
# classifier on `x` $(k, d)$ and int64 `labels` $(k,)$, 0 for source and 1 for
# target, and returns a function from samples to labels.
#
# $$\hat d_A=\max\big(0,\;2(1-2\varepsilon)\big),\qquad
# \varepsilon=\tfrac12(\varepsilon_S+\varepsilon_T)$$
#
# - $\varepsilon_S$ and $\varepsilon_T$ are the shares of **held-out** source and
#   target samples that are named wrongly: no sample is classified by a classifier
#   that was trained on it.
# - Cut each domain at random, in halves or in more parts (then count the errors
#   of all parts together); both domains must be present in training. The seed
#   decides both cuts; another seed, other cuts.
# - Returns a float in $[0, 2]$.
#
# By hand: of 10 held-out source samples 1 is wrong, of 5 target samples 2:
# $\varepsilon=(0.1+0.4)/2=0.25$, and the distance is 1.


# %% answer="distribution_shift.proxy_a_distance"
def proxy_a_distance(source, target, fit, seed):
    ### BEGIN SOLUTION
    generator = torch.Generator().manual_seed(seed)
    train, held_out = [], []
    for z in (source, target):
        z = z[torch.randperm(len(z), generator=generator)]
        half = len(z) // 2
        train.append(z[:half])
        held_out.append(z[half:])
    labels = torch.tensor([0] * len(train[0]) + [1] * len(train[1]))
    predict = fit(torch.cat(train), labels)
    error_source = (predict(held_out[0]) != 0).double().mean()
    error_target = (predict(held_out[1]) != 1).double().mean()
    error = (error_source + error_target) / 2
    return max(0.0, float(2 * (1 - 2 * error)))
    ### END SOLUTION


# %% check="distribution_shift.proxy_a_distance"
check("distribution_shift.proxy_a_distance", proxy_a_distance)

# %% [markdown]
# ## 8. Importance weights
#
# A domain classifier, fitted on $n_S$ source and $n_T$ target samples, gives each
# source sample a logit $a$ with
# $P(\text{target}\mid x)=\operatorname{sigmoid}(a)$. Write
# `importance_weights(logits, num_source, num_target, normalise=True)`.
#
# - `normalise=False`: the density ratio $p_T(x)/p_S(x)$ of each sample.
# - `normalise=True`: the same divided by its mean over the samples given. It must
#   hold for logits near 200 and near $-200$, in float32.
# - `logits` $(n,)$ are those of some source samples: $n$ need not be `num_source`.
# - `ValueError` for no sample, or a count below 1, normalised or not.
#
# By hand: 40 source and 10 target samples, $a=0$: the odds are 1, and the ratio is
# $40/10=4$.


# %% answer="distribution_shift.importance_weights"
def importance_weights(logits, num_source, num_target, normalise=True):
    ### BEGIN SOLUTION
    if len(logits) == 0 or num_source < 1 or num_target < 1:
        raise ValueError("samples of both domains are needed")
    if not normalise:
        return torch.exp(logits) * num_source / num_target
    # The largest logit cancels, and with it all danger of inf.
    weights = torch.exp(logits - logits.max())
    return weights / weights.mean()
    ### END SOLUTION


# %% check="distribution_shift.importance_weights"
check("distribution_shift.importance_weights", importance_weights)

# %% [markdown]
# ## 9. Black-box shift estimation
#
# Write `bbse(predictions_val, labels_val, predictions_target, num_classes)`. The
# first two, $(n,)$ int64, are predicted and true classes of held-out source
# samples; the third, $(m,)$ int64, predicted classes of target samples. Solve
#
# $$\sum_j C_{ij}\,w_j=q_i,\qquad C_{ij}=\hat p(h=i,\,y=j),\quad
# q_i=\hat q(h=i),$$
#
# with $C$ the **joint** distribution (all entries sum to 1).
#
# - Returns $w$ $(k,)$, float64, with negative entries set to 0 and nothing else
#   changed. $w_j=q(y=j)/p(y=j)$.
# - `ValueError` when $C$ is singular (a class never occurs or is never predicted,
#   or two are predicted alike), for no target sample, and for a class outside
#   $0..k-1$ in any of the three.

# %% [markdown]
# By hand: a classifier that is always right, source classes half and half, target
# predicted 0.8 and 0.2: $C=\operatorname{diag}(0.5,0.5)$ and $w=(1.6,\,0.4)$.


# %% answer="distribution_shift.bbse"
def bbse(predictions_val, labels_val, predictions_target, num_classes):
    ### BEGIN SOLUTION
    if len(predictions_target) == 0:
        raise ValueError("no target prediction")
    for classes in (predictions_val, labels_val, predictions_target):
        if classes.min() < 0 or classes.max() >= num_classes:
            raise ValueError("a class that does not exist")
    joint = torch.zeros(num_classes, num_classes, dtype=torch.float64)
    for i in range(num_classes):
        for j in range(num_classes):
            both = (predictions_val == i) & (labels_val == j)
            joint[i, j] = both.double().mean()
    predicted = torch.stack(
        [(predictions_target == i).double().mean() for i in range(num_classes)]
    )
    if torch.linalg.matrix_rank(joint) < num_classes:
        raise ValueError("the confusion matrix is singular")
    return torch.linalg.solve(joint, predicted).clamp(min=0)
    ### END SOLUTION


# %% check="distribution_shift.bbse"
check("distribution_shift.bbse", bbse)

# %% [markdown]
# ## 10. Bug hunt: a report on two samples
#
# `bug_hunt(x, y, orders, alpha)` tells whether two samples differ. It runs and
# prints plausible numbers, and is wrong in **five** ways. Mend them. It shall
#
# - standardise each feature over both samples together (mean 0, spread 1, with
#   `correction=0`);
# - use one Gaussian kernel with $\sigma$ = median distance of all pooled pairs, of
#   which the checks have an odd number;
# - estimate MMD² without bias;
# - test it with the given permutations: `orders` $(B, n+m)$ int64, in each row the
#   first $n$ entries play `x`;
# - call the samples different if $p\le$ `alpha`.
#
# It returns a dictionary with `mean_gap` (the norm of the difference of the two
# means after standardising), `sigma`, `mmd2`, `p_value` and `different`.


# %% answer="distribution_shift.bug_hunt"
### BEGIN STUB
def bug_hunt(x, y, orders, alpha):
    n = len(x)
    x = (x - x.mean(0)) / x.std(0, correction=0)
    y = (y - y.mean(0)) / y.std(0, correction=0)
    z = torch.cat([x, y])
    distances = torch.pdist(z).square()
    sigma = distances.median()
    squared = (z[:, None] - z[None]).square().sum(2)
    kernel = torch.exp(-squared / (2 * sigma**2))

    def mmd(order):
        a, b = order[:n], order[n:]
        within = kernel[a][:, a].mean() + kernel[b][:, b].mean()
        return (within - 2 * kernel[a][:, b].mean()).item()

    observed = mmd(torch.arange(len(z)))
    extreme = sum(mmd(order) >= observed for order in orders)
    p_value = extreme / len(orders)
    return {
        "mean_gap": (x.mean(0) - y.mean(0)).norm().item(),
        "sigma": sigma.item(),
        "mmd2": observed,
        "p_value": p_value,
        "different": observed > 0,
    }


### END STUB
### BEGIN SOLUTION
def mean_of_pairs(kernel):
    n = len(kernel)
    return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))


def bug_hunt(x, y, orders, alpha):
    n = len(x)
    z = torch.cat([x, y])
    z = (z - z.mean(0)) / z.std(0, correction=0)
    sigma = torch.pdist(z).median()
    squared = (z[:, None] - z[None]).square().sum(2)
    kernel = torch.exp(-squared / (2 * sigma**2))

    def mmd(order):
        a, b = order[:n], order[n:]
        within = mean_of_pairs(kernel[a][:, a]) + mean_of_pairs(kernel[b][:, b])
        return (within - 2 * kernel[a][:, b].mean()).item()

    observed = mmd(torch.arange(len(z)))
    extreme = sum(mmd(order) >= observed for order in orders)
    p_value = (1 + extreme) / (1 + len(orders))
    return {
        "mean_gap": (z[:n].mean(0) - z[n:].mean(0)).norm().item(),
        "sigma": sigma.item(),
        "mmd2": observed,
        "p_value": p_value,
        "different": p_value <= alpha,
    }


### END SOLUTION


# %% check="distribution_shift.bug_hunt"
check("distribution_shift.bug_hunt", bug_hunt)

# %% [markdown] question="distribution_shift-why" points=2
# ## 11. Which shift, which remedy? (marked by a person)
#
# A model was trained on referrals to a city hospital. It now runs in a screening
# programme: far fewer people are ill, the scanner is the same. The two sets of
# images are told apart by a permutation test on MMD² with $p=0.001$. A colleague
# proposes to train features that make MMD² small. In at most 150 words: which kind
# of shift is most plausible, what does the test say and not say about it, why may
# the proposal hurt (draw two classes whose shares differ, and make the two mixtures
# match), and what would you do and check instead?
#
# === BEGIN MARK SCHEME ===
# 1 point for the reading: label shift (P(y) falls, P(x | y) stays); the test only
# says that the distributions of x differ, not why nor how much accuracy is lost; a
# change of the class mixture alone changes P(x).
# 1 point for the remedy: aligning features forces equal feature distributions onto
# unequal class priors, so that ill and healthy are mixed up (or: nothing keeps the
# joint error lambda of section 9 small); estimate the class
# ratios (BBSE, with a held-out confusion matrix) and reweight or shift the logits.
# Check: P(x | y) on a few labelled target cases, that the confusion matrix is not
# singular, that the estimate is stable. Half a point each for a partial argument.
# === END MARK SCHEME ===
