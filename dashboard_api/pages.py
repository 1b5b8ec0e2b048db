"""The few plain pages that need no console: a refused sign-in link, a console not built."""

from __future__ import annotations

from starlette.responses import HTMLResponse

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title} · smart-estate</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body style="font: 1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto">
<h1>{title}</h1>
{body}
</body>
</html>
"""

_LINK_REFUSED = """
<p>A sign-in link works once, within ten minutes of being printed. This one was used,
has expired, or was not copied whole.</p>
<p>Make a new one on the machine that runs the system:</p>
<pre>estate sign-in-link</pre>
<p>If you have set a password, <a href="/">sign in with it</a>.</p>
<hr>
<p lang="zh">登录链接只能使用一次，有效期十分钟。此链接已使用、已过期或不完整。
请在运行本系统的机器上执行 <code>estate sign-in-link</code> 获取新链接；
已设置密码的，可<a href="/">用密码登录</a>。</p>
"""

_NOT_LOCAL = """
<p>A sign-in link works only in a browser on the machine that runs the system, at its loopback
address (for example <code>http://127.0.0.1:8000</code>). The link was not used up.</p>
<p>From another machine, <a href="/">sign in with a password</a>, or forward the port:</p>
<pre>ssh -L 8000:127.0.0.1:8000 the-machine</pre>
<hr>
<p lang="zh">登录链接只能在运行本系统的机器上、通过本机地址打开。此链接未被消耗。
在其他机器上请<a href="/">用密码登录</a>，或先转发端口。</p>
"""

_NOT_BUILT = """
<p>The API is running, but the console has not been built into this installation.</p>
<p>In the source tree, this builds it and starts again:</p>
<pre>make run</pre>
<p>The API's description is at <a href="/api/v1/openapi.json">/api/v1/openapi.json</a>.</p>
<hr>
<p lang="zh">接口已在运行，但控制台尚未构建。
在源码目录执行 <code>make run</code> 即可构建并启动。</p>
"""


def link_refused() -> HTMLResponse:
    """Return the page for a link that is used, expired or unknown."""
    return _page(410, "This sign-in link no longer works", _LINK_REFUSED)


def not_local() -> HTMLResponse:
    """Return the page for a link that is opened from elsewhere."""
    return _page(403, "Sign-in links work on the machine itself only", _NOT_LOCAL)


def console_not_built() -> HTMLResponse:
    """Return the page that stands in for the console."""
    return _page(503, "The console is not built", _NOT_BUILT)


def _page(status: int, title: str, body: str) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(title=title, body=body), status_code=status)
