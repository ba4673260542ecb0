"""How attacks are declared."""


class Attack:
    """`run(target, parameters, prepared)` returns when the attack is over, or starts processes that are waited for."""

    def __init__(self, run, prepare, defaults):
        self.run, self.prepare, self.defaults = run, prepare, {"seconds": 20, **defaults}
        self.__doc__ = " ".join((run.__doc__ or "").split())


class Attacks(dict):
    """Attacks by name, each declared with `@ATTACKS.attack("name", key=default)`."""

    def attack(self, name, prepare=None, **defaults):
        def add(run):
            self[name] = Attack(run, prepare, defaults)
            return run

        return add
