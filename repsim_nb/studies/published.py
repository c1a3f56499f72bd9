"""Published results as data.

M. S. Yellapragada 2020, *Are the proposed similarity metrics also a measure of functional similarity?*, New York
University, called the thesis here; the pairs of F. Ding, J.-S. Denain, J. Steinhardt 2021, *Grounding Representation
Similarity with Statistical Testing*. Published dissimilarities of brains and of ImageNet models are in `rs.datasets`.
"""

from __future__ import annotations

import pandas as pd

from repsim_nb.support.files import shipped_folder

TABLE_3_1 = pd.DataFrame(
    {"CKA and JSD": (-0.75, -0.721, -0.781), "CKA and rank coefficient": (0.703, 0.58, 0.602)},
    index=pd.Index(("Cifar: trained nets", "MiniGrid (average)", "MiniGrid with bottleneck"), name="experiment"),
)
"""Table 3.1: Spearman correlation, over pairs of models, of the CKA of their features with the JSD and with the rank
coefficient of their outputs.

Perfect agreement would be -1 for the JSD, a dissimilarity, and +1 for the rank coefficient; the text has these two
signs the wrong way round.
"""

TABLE_4_1 = pd.DataFrame(
    {
        "CKA": (0.99,) * 5,
        "CCA": (0.99,) * 5,
        "JSD": (0.59, 0.57, 0.53, 0.41, 0.29),
        "rank coefficient": (-0.95, -0.93, -0.91, -0.81, -0.70),
        "accuracy": (0.977, 0.971, 0.964, 0.935, 0.895),
    },
    index=pd.Index((0.0, 0.25, 0.5, 0.8, 0.9), name="d"),
)
"""Table 4.1: two heads on one frozen model, the second with flipped labels, by d; accuracy on the validation images,
as a fraction (printed in per cent).

d is the fraction of the features that is masked: with d = 0 all are active and the accuracy is highest. (The text calls
d the fraction of the unmasked ones.)
"""

_MODELS = ("cifar_s1", "cifar_s2", "imagenet_s1", "imagenet_s2", "random_s1", "random_s2")
_SETS = tuple(f"{test_set}_{model}" for test_set in ("cifar", "imagenet", "voc") for model in _MODELS)

# Per cent; all that is not here was printed as 0.00.
_PERCENT: dict[str, dict[str, int]] = {
    "cifar_cifar_s1": {"cifar_cifar_s1": 68, "imagenet_cifar_s1": 13, "voc_cifar_s1": 18},
    "cifar_cifar_s2": {"cifar_cifar_s2": 71, "imagenet_cifar_s2": 12, "voc_cifar_s2": 15},
    "cifar_imagenet_s1": {
        "cifar_cifar_s1": 1,
        "cifar_cifar_s2": 1,
        "cifar_imagenet_s1": 90,
        "imagenet_imagenet_s1": 3,
        "voc_imagenet_s1": 5,
    },
    "cifar_imagenet_s2": {
        "cifar_cifar_s1": 1,
        "cifar_cifar_s2": 1,
        "cifar_imagenet_s2": 88,
        "imagenet_imagenet_s2": 4,
        "voc_imagenet_s2": 6,
    },
    "cifar_random_s1": {"cifar_random_s1": 4, "imagenet_random_s1": 95},
    "cifar_random_s2": {"cifar_random_s2": 100},
    "imagenet_cifar_s1": {"cifar_cifar_s1": 17, "cifar_cifar_s2": 1, "imagenet_cifar_s1": 60, "voc_cifar_s1": 22},
    "imagenet_cifar_s2": {"cifar_cifar_s2": 21, "imagenet_cifar_s2": 57, "voc_cifar_s2": 21},
    "imagenet_imagenet_s1": {
        "cifar_cifar_s1": 2,
        "cifar_cifar_s2": 3,
        "cifar_imagenet_s1": 4,
        "imagenet_imagenet_s1": 79,
        "voc_imagenet_s1": 11,
    },
    "imagenet_imagenet_s2": {
        "cifar_cifar_s1": 1,
        "cifar_cifar_s2": 2,
        "cifar_imagenet_s2": 4,
        "imagenet_imagenet_s2": 81,
        "voc_imagenet_s2": 11,
    },
    "imagenet_random_s1": {"cifar_random_s1": 2, "imagenet_random_s1": 98},
    "imagenet_random_s2": {"cifar_random_s2": 100},
    "voc_cifar_s1": {"cifar_cifar_s1": 22, "cifar_cifar_s2": 1, "imagenet_cifar_s1": 18, "voc_cifar_s1": 59},
    "voc_cifar_s2": {"cifar_cifar_s2": 24, "imagenet_cifar_s2": 19, "voc_cifar_s2": 56},
    "voc_imagenet_s1": {
        "cifar_cifar_s1": 1,
        "cifar_cifar_s2": 2,
        "cifar_imagenet_s1": 6,
        "imagenet_imagenet_s1": 10,
        "voc_imagenet_s1": 79,
    },
    "voc_imagenet_s2": {
        "cifar_cifar_s1": 1,
        "cifar_cifar_s2": 1,
        "cifar_imagenet_s2": 6,
        "imagenet_imagenet_s2": 13,
        "voc_imagenet_s2": 77,
    },
    "voc_random_s1": {"cifar_random_s1": 1, "imagenet_random_s1": 97, "voc_random_s1": 1},
    "voc_random_s2": {"cifar_random_s2": 100},
}
CONFUSION = pd.DataFrame(
    [[_PERCENT[true].get(predicted, 0) / 100 for predicted in _SETS] for true in _SETS],
    index=pd.Index(_SETS, name="true"),
    columns=pd.Index(_SETS, name="predicted"),
)
"""Figure 3.1: the fractions of each of 18 sets of features (rows) that a linear SVM took for each of them (columns),
printed to two decimals, so that rows sum to 1 within .02.

Mean of the diagonal .593. With each row divided by its sum, the model is the right one for a fraction of .989 and the
test set for .600. A set is [test set]_[model]: "cifar_imagenet_s1" are features of Cifar100 images in the model
that was trained on Imagenet32 with seed 1. (The caption's example says it the other way round.)
"""

GROUNDING_BERT = pd.DataFrame(
    {"PWCCA": (0.763, 0.564), "CKA": (0.876, 0.685), "Procrustes": (0.862, 0.670)},
    index=pd.Index(("spearman", "kendall"), name="rank correlation"),
)
"""The distances to the best representation of BERT's last layer, against the gap in accuracy of a probe on QNLI: 120
pairs of `layer_experiment`.
"""


def layer_experiment() -> pd.DataFrame:
    """Read all 7,260 pairs of 10 seeds × 12 layers of BERT, one row each.

    Columns: seed1, layer1, seed2, layer2; the distances PWCCA, mean_sq_cca, mean_cca, CKA, Procrustes; the gaps in
    probe accuracy QNLI_diff, SST2_diff, as absolute fractions.

    References
    ----------
    Ding et al. 2021; computed by Boix-Adserà et al. 2022, MIT licence.
    """
    return pd.read_csv(shipped_folder("data") / "published_scores" / "layer_exp_full_df.csv.gz")
