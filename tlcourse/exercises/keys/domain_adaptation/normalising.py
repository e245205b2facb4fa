"""AdaBN: what is right, and the sentence for each way to miss it."""

from __future__ import annotations

from tlcourse import adapt
from tlcourse.exercises.keys.domain_adaptation import statistics as wrong
from tlcourse.exercises.spec import Key, Mutant, Tolerance

adabn = Key(
    reference=adapt.adapt_batchnorm,
    tolerance=Tolerance(rtol=1e-3, atol=1e-5),
    mutants=(
        Mutant(
            "running_average",
            wrong.running_average,
            "A running average with a momentum keeps a share of the source's "
            "statistics and weighs late batches more. Set the statistics from all "
            "samples at once.",
        ),
        Mutant(
            "first_batch",
            wrong.first_batch,
            "Only the first samples were looked at. Where the data are sorted they are "
            "not like the rest: use all of x.",
        ),
        Mutant(
            "mean_over_batches",
            wrong.mean_of_batches,
            "You average the statistics of batches. The mean of batch variances leaves "
            "out how the batches differ, so the result depends on the order. Use the "
            "mean and variance over all samples.",
        ),
        Mutant(
            "dropout_on",
            wrong.dropout_on,
            "Dropout was active while you took the statistics. Put the model into eval "
            "mode, and only the BatchNorm layers into train mode.",
        ),
        Mutant(
            "unbiased_variance",
            wrong.unbiased,
            "The variance is divided by N - 1, as torch's running variance is. Train "
            "mode normalises with N; eval outputs agree with it only if you divide by "
            "N too.",
        ),
        Mutant(
            "all_layers_at_once",
            wrong.all_at_once,
            "All statistics come from one pass in eval mode, in which the early layers "
            "still used the source's. What a later layer sees changes once the earlier "
            "ones are set: let each layer normalise by the new statistics in the pass.",
        ),
        Mutant(
            "affine_reset",
            wrong.reset_affine,
            "weight and bias of BatchNorm were reset. They were learnt and stay; only "
            "running_mean and running_var change.",
        ),
        Mutant(
            "stays_in_eval",
            wrong.stays_in_eval,
            "The modules come back in another mode. Remember each module's `training` "
            "flag and put it back.",
        ),
        Mutant(
            "eval_pass",
            wrong.eval_pass,
            "Nothing changed: in eval mode a pass does not touch the statistics. The "
            "BatchNorm layers must be in train mode, or be set by hand.",
        ),
        Mutant(
            "momentum_left",
            wrong.momentum_left,
            "The momentum of the BatchNorm layers is not what it was, and the next "
            "training would use it. Remember what each layer had, which need not be "
            "torch's 0.1, and put that back.",
        ),
        Mutant(
            "all_trainable",
            wrong.all_trainable,
            "A parameter that was frozen comes back with requires_grad=True. Leave "
            "requires_grad alone; a pass under torch.no_grad() is enough.",
        ),
        Mutant(
            "hooks_left",
            wrong.hooks_left,
            "Your hooks are still on the model: every later pass sets the statistics "
            "anew, even that of a single sample. Call remove() on each handle.",
        ),
        Mutant(
            "children_only",
            wrong.children_only,
            "BatchNorm layers inside blocks were missed. children() and a loop over a "
            "Sequential see the top level; model.modules() sees every module.",
        ),
        Mutant(
            "as_registered",
            wrong.as_registered,
            "The layers were set in the order of modules(), which need not be that "
            "in which x meets them. Set each one as the pass reaches it, in a hook.",
        ),
        Mutant(
            "first_layer_only",
            wrong.first_layer_only,
            "Only the first BatchNorm layer was set. Every layer has statistics of its "
            "own.",
        ),
    ),
)
