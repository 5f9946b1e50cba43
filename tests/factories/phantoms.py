"""Phantoms for tests, made once in a session; their arrays must not be changed."""

from functools import lru_cache

from ml.phantom.acquisition import PhantomTier
from ml.phantom.cohort import Phantom, PhantomSpec, generate_phantom
from ml.phantom.variants import PhantomVariant


@lru_cache(maxsize=64)
def make_phantom(
    seed: int = 7,
    tier: PhantomTier = PhantomTier.TINY,
    variant: PhantomVariant = PhantomVariant.STANDARD,
) -> Phantom:
    return generate_phantom(PhantomSpec(seed=seed, tier=tier, variant=variant))
