"""How calls travel from Slicer to an engine: by Qt's own network stack, told by signals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import qt
from SSLSegmentationLib.engine.calls import Answer, Call, EngineLostError, check
from SSLSegmentationLib.engine.frames import in_pieces
from SSLSegmentationLib.engine.serve import is_loopback
from SSLSegmentationLib.errors import InputError

from SSLSegmentationUI.Errand import Errand, GiveUp, Steps, Waiting

SILENCE_SECONDS = 60.0
"""An engine that streams says something at least every few seconds; after so long the line counts as dead."""

_AT_ONCE = 2**20
_PIECE = 2**20
_NO_REDIRECTS = 0  # QNetworkRequest.ManualRedirectPolicy: the token must not follow to another machine


class Transport:
    def __init__(self, url: str, token: str, certificate: str = "") -> None:
        """`certificate` is a file of an authority to trust besides those that Slicer knows."""
        self._url = url.rstrip("/")
        self._token = token
        self._trust = _trusting(certificate) if certificate else None
        self._manager = qt.QNetworkAccessManager()
        self._open: set[_Exchange] = set()
        if is_loopback(urlsplit(url).hostname or ""):
            self._manager.setProxy(qt.QNetworkProxy(qt.QNetworkProxy.NoProxy))

    def send(self, call: Call[Any], done: Callable[[Any], None], failed: Callable[[Exception], None]) -> GiveUp:
        """Send a call; `done` gets what it reads from the answer. Returns how to give it up."""

        def answered(answer: Answer) -> None:
            try:
                value = call.read(answer)
            except Exception as error:  # noqa: BLE001 - whatever the answer says goes to whoever asked
                failed(error)
            else:
                done(value)

        request = self._request(call.path, call.query, call.content_type)
        if sum(memoryview(part).nbytes for part in call.body) <= _AT_ONCE:
            body = qt.QByteArray(b"".join(call.body))
            reply = self._manager.sendCustomRequest(request, call.method.encode(), body)
            return self._exchange(reply, answered, failed, call.seconds).abort

        # A large body is copied into Qt in pieces, with time for the window between them.
        buffer = qt.QBuffer()
        sending: list[_Exchange] = []

        def copied(_: Any) -> None:
            buffer.seek(0)
            reply = self._manager.sendCustomRequest(request, call.method.encode(), buffer)
            buffer.setParent(reply)  # which reads from it until the end
            sending.append(self._exchange(reply, answered, failed, call.seconds))

        copying = Errand(_fill(buffer, call), copied, failed).start()

        def giveUp() -> None:
            copying.drop()
            for exchange in sending:
                exchange.abort()

        return giveUp

    def asking(self, call: Call[Any]) -> Waiting:
        """The same, for an Errand to wait for."""
        return lambda done, failed: self.send(call, done, failed)

    def streaming(self, path: str, take: Callable[[str], None]) -> Waiting:
        """Lines as they come, until the stream ends; for an Errand to wait for."""

        def begin(done: Callable[[Any], None], failed: Callable[[Exception], None]) -> GiveUp:
            def ended(answer: Answer) -> None:
                try:
                    check(answer)
                except Exception as error:  # noqa: BLE001 - as above
                    failed(error)
                else:
                    done(None)

            reply = self._manager.get(self._request(path, {}, ""))
            return self._exchange(reply, ended, failed, SILENCE_SECONDS, take=take).abort

        return begin

    def close(self, error: Exception) -> None:
        """Let go of everything that is under way; whoever waits gets the error."""
        for exchange in list(self._open):
            exchange.fail(error)

    def _request(self, path: str, query: Any, contentType: str) -> Any:
        address = self._url + path + ("?" + urlencode(query) if query else "")
        request = qt.QNetworkRequest(qt.QUrl(address))
        if self._trust is not None:
            request.setSslConfiguration(self._trust)
        request.setRawHeader(b"Authorization", f"Bearer {self._token}".encode())
        request.setAttribute(qt.QNetworkRequest.RedirectPolicyAttribute, _NO_REDIRECTS)
        if contentType:
            request.setHeader(qt.QNetworkRequest.ContentTypeHeader, contentType)
        return request

    def _exchange(self, reply: Any, *how: Any, **more: Any) -> _Exchange:
        exchange = _Exchange(reply, self._open.discard, *how, **more)
        self._open.add(exchange)
        return exchange


class _Exchange:
    """One request on its way: collects what arrives, and sees to it that silence ends it."""

    def __init__(
        self,
        reply: Any,
        forget: Callable[[_Exchange], None],
        done: Callable[[Answer], None],
        failed: Callable[[Exception], None],
        seconds: float,
        take: Callable[[str], None] | None = None,
    ) -> None:
        self._reply = reply
        self._forget = forget
        self._done = done
        self._failed = failed
        self._take = take
        self._body = bytearray()
        self._silence = qt.QTimer()
        self._silence.setSingleShot(True)
        self._silence.setInterval(int(seconds * 1000))
        self._silence.connect("timeout()", self._onSilence)
        self._silence.start()
        reply.connect("readyRead()", self._onArrival)
        reply.connect("uploadProgress(qint64,qint64)", self._onUpload)
        reply.connect("finished()", self._onFinished)

    def abort(self) -> None:
        if self._reply is not None:
            reply = self._letGo()
            # One whose line has just broken is about to end by itself, and Qt complains of a second reason for it.
            if reply.error() == qt.QNetworkReply.NoError:
                reply.abort()

    def fail(self, error: Exception) -> None:
        if self._reply is not None:
            self.abort()
            self._failed(error)

    def _onArrival(self) -> None:
        if self._reply is None:
            return
        self._silence.start()
        self._body += self._reply.readAll().data() or b""  # None, if there is nothing
        if self._take is not None and self._status() == 200:
            *lines, rest = self._body.split(b"\n")
            self._body = bytearray(rest)
            for line in lines:
                self._take(line.rstrip(b"\r").decode("utf-8", "replace"))

    def _onUpload(self, sent: int, total: int) -> None:
        if self._reply is not None:
            self._silence.start()

    def _onSilence(self) -> None:
        self.fail(_lost("it said nothing for too long"))

    def _onFinished(self) -> None:
        if self._reply is None:
            return
        self._onArrival()
        status = self._status()
        if status is None or (status < 400 and self._reply.error() != qt.QNetworkReply.NoError):
            self.fail(_lost(self._reply.errorString()))
            return
        contentType = str(self._reply.header(qt.QNetworkRequest.ContentTypeHeader) or "")
        answer = Answer(status, self._body, contentType)
        self._letGo()
        self._done(answer)

    def _status(self) -> int | None:
        status = self._reply.attribute(qt.QNetworkRequest.HttpStatusCodeAttribute)
        return None if status is None else int(status)

    def _letGo(self) -> Any:
        """From here on nothing more is heard of the reply."""
        reply, self._reply = self._reply, None
        self._silence.stop()
        self._forget(self)
        reply.deleteLater()
        return reply


def _trusting(certificate: str) -> Any:
    if not hasattr(qt, "QSslConfiguration"):
        raise InputError("This Slicer cannot use a certificate file: leave it empty, and let your system trust it.")
    trust = qt.QSslConfiguration.defaultConfiguration()
    if not Path(certificate).is_file() or not trust.addCaCertificates(certificate):
        raise InputError(f"{certificate} holds no certificate: choose a file in PEM form, under Advanced.")
    return trust


def _lost(why: str) -> EngineLostError:
    return EngineLostError(f"The engine does not answer ({why}): check that it runs, and the address.")


def _fill(buffer: Any, call: Call[Any]) -> Steps:
    buffer.open(qt.QIODevice.ReadWrite)
    for piece in in_pieces(call.body, _PIECE):
        buffer.write(qt.QByteArray(bytes(piece)))
        yield
