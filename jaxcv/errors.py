"""What a user can mend is said in one sentence; everything else is a bug and keeps its traceback."""


def describe(error: BaseException) -> str:
    """An error in one line, as "KeyError: 'view1'"."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


class UserError(Exception):
    """A mistake outside the code: one sentence that names the file, key or value and what would be right."""


class DataError(UserError):
    """Data that are missing, corrupt, or not what the config says."""


class ConfigError(UserError):
    """A config key or value that cannot be used."""
