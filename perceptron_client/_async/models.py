"""`client.models`: the registry of trained networks."""

from __future__ import annotations

from collections.abc import AsyncIterator

from perceptron_client._async.http import AsyncHttp
from perceptron_client.answers.models import Model, Version
from perceptron_client.bodies.json_text import to_json
from perceptron_client.errors import AliasNotFound
from perceptron_client.requests import JSON, Call, path_of


class AsyncModels:
    """Models, their versions and aliases."""

    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def list(self) -> AsyncIterator[Model]:
        """Yield all models by name."""
        async for raw in self._http.pages("/models"):
            yield Model.of(raw)

    async def get(self, name: str) -> Model:
        """Return a model with its versions and aliases.

        Raises:
            ModelNotFound: there is none.
        """
        return Model.of(await self._http.json(Call("GET", path_of("models", name))))

    async def version(self, name: str, version: int | str | None = None) -> Version:
        """Return a version, with its weights and bias.

        Args:
            version: its number, or an alias; None: the latest.

        Raises:
            VersionNotFound, AliasNotFound, ModelNotFound: there is none.
        """
        if version is None or isinstance(version, str):
            model = await self.get(name)
            number = model.latest_version if version is None else model.aliases.get(version)
            if number is None:
                known = ", ".join(model.aliases) or "none"
                raise AliasNotFound(
                    404, "alias_not_found", f"model {name!r} has no alias {version!r}; its aliases: {known}"
                )
            version = number
        return Version.of(await self._http.json(Call("GET", path_of("models", name, "versions", version))))

    async def delete(self, name: str) -> None:
        """Delete a model with all its versions and aliases."""
        await self._http.send(Call("DELETE", path_of("models", name), is_deletion=True))

    async def delete_version(self, name: str, version: int) -> None:
        """Delete a version. Its number is never used again.

        Raises:
            VersionInUse: an alias points at it.
        """
        await self._http.send(Call("DELETE", path_of("models", name, "versions", version), is_deletion=True))

    async def set_alias(self, name: str, alias: str, version: int) -> Model:
        """Point an alias at a version, and return the model."""
        call = Call(
            "PUT",
            path_of("models", name, "aliases", alias),
            content=to_json({"version": version}),
            headers={"Content-Type": JSON},
        )
        return Model.of(await self._http.json(call))

    async def delete_alias(self, name: str, alias: str) -> None:
        """Delete an alias; the version stays."""
        await self._http.send(Call("DELETE", path_of("models", name, "aliases", alias), is_deletion=True))
