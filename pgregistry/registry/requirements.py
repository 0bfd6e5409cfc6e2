"""Distributions that a run requires, as in `require = ["pgregistry-expert>=1"]`."""

from __future__ import annotations

from pgregistry.errors import ConfigError, Problems
from pgregistry.registry.distributions import version_of
from pgregistry.settings.merge import Settings


def check_requirements(settings: Settings, problems: Problems) -> None:
    """Add to `problems` each required distribution that is missing or has another version."""
    if not settings.require:
        return
    from packaging.requirements import InvalidRequirement, Requirement  # costs 20 ms, needed rarely
    from packaging.version import InvalidVersion

    for text, origin in settings.require.items():
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            rule = "must be a requirement such as pgregistry-expert>=1"
            problems.add(ConfigError(f"require: {text!r} ({origin}) {rule}: {str(error).splitlines()[0]}."))
            continue
        if requirement.marker and not requirement.marker.evaluate():
            continue
        version = version_of(requirement.name)
        try:
            if version is not None and requirement.specifier.contains(version, prereleases=True):
                continue
        except InvalidVersion:  # the metadata are damaged
            pass
        found = " is not installed" if version is None else f", but {requirement.name} {version} is installed"
        problems.add(ConfigError(f"require: {text!r} ({origin}){found}. Install it: pip install {text!r}."))
