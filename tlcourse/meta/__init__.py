"""Few-shot learning and meta-learning: episodes, heads, and learning to adapt."""

from __future__ import annotations

from tlcourse.meta.episodes import (
    Episode,
    EpisodeSampler,
    Task,
    sample_episode,
    sample_episodes,
)
from tlcourse.meta.episodic import EpisodicHistory, train_episodes
from tlcourse.meta.evaluating import FewShotResult, few_shot_accuracy, learner_accuracy
from tlcourse.meta.heads import (
    FewShotHead,
    Matching,
    Prototypical,
    Relation,
    RidgeProbe,
)
from tlcourse.meta.inner_loop import (
    adapt_params,
    adaptation_curve,
    anil_params,
    inner_step,
)
from tlcourse.meta.maml import fomaml_grad, maml_grad
from tlcourse.meta.matching import matching_attention, matching_probabilities
from tlcourse.meta.meta_training import MetaHistory, meta_train
from tlcourse.meta.navigation import (
    NavigationPolicy,
    Trajectories,
    best_returns,
    rollout,
    sample_goals,
)
from tlcourse.meta.policy_gradient import (
    advantages,
    dice_loss,
    returns_to_go,
    rl_inner_loss,
)
from tlcourse.meta.prototypes import class_prototypes, proto_logits
from tlcourse.meta.relation import RelationHead, RelationMapHead, relation_loss
from tlcourse.meta.reptile import reptile_update
from tlcourse.meta.rl_maml import RlSettings, rl_adapt, rl_maml_grad
from tlcourse.meta.sinusoids import (
    Sinusoids,
    sample_sinusoids,
    sinusoid_batch,
    sinusoid_model,
)
from tlcourse.meta.stateless import ModuleLoss, module_loss

__all__ = [
    "Episode",
    "EpisodeSampler",
    "EpisodicHistory",
    "FewShotHead",
    "FewShotResult",
    "Matching",
    "MetaHistory",
    "ModuleLoss",
    "NavigationPolicy",
    "Prototypical",
    "Relation",
    "RelationHead",
    "RelationMapHead",
    "RidgeProbe",
    "RlSettings",
    "Sinusoids",
    "Task",
    "Trajectories",
    "adapt_params",
    "adaptation_curve",
    "advantages",
    "anil_params",
    "best_returns",
    "class_prototypes",
    "dice_loss",
    "few_shot_accuracy",
    "fomaml_grad",
    "inner_step",
    "learner_accuracy",
    "maml_grad",
    "matching_attention",
    "matching_probabilities",
    "meta_train",
    "module_loss",
    "proto_logits",
    "relation_loss",
    "reptile_update",
    "returns_to_go",
    "rl_adapt",
    "rl_inner_loss",
    "rl_maml_grad",
    "rollout",
    "sample_episode",
    "sample_episodes",
    "sample_goals",
    "sample_sinusoids",
    "sinusoid_batch",
    "sinusoid_model",
    "train_episodes",
]
