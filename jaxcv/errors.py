"""What a user can mend is said in one sentence; everything else is a bug and keeps its traceback."""


class UserError(Exception):
    """A mistake outside the code: one sentence that names the file, key or value and what would be right."""


class DataError(UserError):
    """Data that are missing, corrupt, or not what the config says."""


class ConfigError(UserError):
    """A config key or value that cannot be used."""
