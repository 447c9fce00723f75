"""JSON requests over the official client: its configuration, authentication and connections, without its models."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

from rivermill_operator.kube.port import KubeError

REQUEST_SECONDS = 15.0
WATCH_SECONDS = 300
#: The API server sends a bookmark about every minute; a connection on which nothing is heard may have died without a word.
SILENT_SECONDS = 90.0
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
_REFUSED = 400
_SHOWN = 80


class Rest:
    """One connection pool to the API server."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api

    @classmethod
    async def connect(cls) -> Rest:
        """Configure from the pod's service account, else from KUBECONFIG.

        Raises:
            KubeError: there is neither.
        """
        configuration = client.Configuration()
        try:
            try:
                config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            except config.ConfigException:
                _check_kubeconfig(config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION)
                await config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except Exception as error:  # The reader stumbles in its own ways over files that are no kubeconfig.
            said = " ".join(str(error).split())
            message = f"no service account, and no usable kubeconfig (KUBECONFIG, or ~/.kube/config): {said}; name another"
            raise KubeError(0, message) from error
        return cls(client.ApiClient(configuration))

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Make a request and decode its answer.

        Raises:
            KubeError: the API server refused it or did not answer in time.
        """
        response = await self._send(method, path, query, body, content_type, REQUEST_SECONDS)
        try:
            data = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KubeError(0, f"{method} {path}: {error!r}") from error
        value = _object(data)
        if response.status >= _REFUSED:
            raise KubeError(response.status, f"{method} {path}: {(value or {}).get('message', response.reason)}")
        if value is None:
            raise KubeError(0, f"{method} {path}: the answer is not a JSON object: {data[:_SHOWN].decode(errors='replace')}")
        return value

    async def watch(self, path: str, query: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield watch events until the server ends the stream, or is silent for too long: ask again from the last version.

        Raises:
            KubeError: the API server refused the watch, or the connection was lost.
        """
        wanted = {**query, "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": WATCH_SECONDS}
        timeout = aiohttp.ClientTimeout(total=WATCH_SECONDS + 30, sock_connect=REQUEST_SECONDS, sock_read=SILENT_SECONDS)
        response = await self._send("GET", path, wanted, None, "application/json", timeout)
        try:
            if response.status >= _REFUSED:
                raise KubeError(response.status, f"watch of {path} refused")
            async for line in response.response.content:
                event = _object(line)
                if event is None or not {"type", "object"} <= event.keys():
                    raise KubeError(0, f"watch of {path}: not an event: {line[:_SHOWN].decode(errors='replace')}")
                yield event
        except aiohttp.SocketTimeoutError:
            return
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise KubeError(0, f"watch of {path}: {error!r}") from error
        finally:
            response.response.close()

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Any,
        content_type: str,
        timeout: float | aiohttp.ClientTimeout,
    ) -> Any:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        try:
            method, url, headers, body, _ = await self._api.param_serialize(
                method, path, query_params=list((query or {}).items()), header_params=headers, body=body,
                auth_settings=["BearerToken"],
            )  # fmt: skip
            return await self._api.call_api(method, url, headers, body, _request_timeout=timeout)
        except ApiException as error:
            raise KubeError(error.status or 0, f"{method} {path}: {error.reason}") from error
        except config.ConfigException as error:
            raise KubeError(0, f"{method} {path}: {error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KubeError(0, f"{method} {path}: {error!r}") from error


def _check_kubeconfig(paths: str) -> None:
    """Raises ConfigException: the reader would log a line of its own, and complain of what no file says."""
    files = [Path(path).expanduser() for path in paths.split(os.pathsep) if path]
    if not any(file.exists() for file in files):
        raise config.ConfigException(f"there is no file {paths}")


def _object(data: bytes) -> dict[str, Any] | None:
    """The JSON object in an answer, or None: what stands before the API server answers in words of its own."""
    try:
        value = json.loads(data or b"{}")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
