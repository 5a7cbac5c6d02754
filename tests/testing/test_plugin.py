"""The pytest plugin, as the tests of somebody else use it."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import httpcore2  # noqa: F401 - pytester forgets what its runs import, and it would come twice
import pytest

pytest_plugins = ["pytester"]

ASK = """
    import json
    import urllib.request

    def ask(server, text="hello", **fields):
        body = json.dumps({"model": "any", "input": text, **fields}).encode()
        request = urllib.request.Request(
            server.base_url + "/responses", body, {"Content-Type": "application/json", "Authorization": "Bearer local"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            response = json.load(answer)
        return "".join(part["text"] for item in response["output"] for part in item.get("content", []))
"""


@pytest.fixture
def tests(pytester):
    """Run tests of somebody else, who has the plugin installed."""

    def run(source, *arguments):
        pytester.makepyfile(textwrap.dedent(ASK) + textwrap.dedent(source))
        plugins = [f"-p{name}" for name in ("no:randomly", "no:xdist", "no:trio", "no:cacheprovider")]
        return pytester.runpytest_inprocess("-ppytest_triplane", *plugins, *arguments)

    return run


def test_the_plugin_costs_nothing_until_a_fixture_is_used():
    program = (
        "import sys, pytest_triplane; print([m for m in ('trio', 'triplane', 'attrs') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_every_test_has_a_server_of_its_own(tests):
    result = tests("""
        import pytest

        @pytest.mark.parametrize("number", [1, 2])
        def test_it(responses_server, number):
            assert ask(responses_server, f"SAY 1 number {number}") == f"number {number}"
            assert len(responses_server.requests) == 1
            assert responses_server.statistics().responses_created == 1
            assert responses_server.journal[0].kind == "request"
            assert responses_server.url.startswith("ws://127.0.0.1:")
            assert responses_server.http_url == responses_server.base_url
    """)

    result.assert_outcomes(passed=2)


def test_options_come_from_markers_and_parameters(tests):
    result = tests("""
        import pytest
        from triplane.server import RefuseUpgrade

        pytestmark = pytest.mark.responses_server(model="echo", api_key="other")

        @pytest.mark.responses_server(api_key="local")
        def test_closest_marker(responses_server):
            assert ask(responses_server) != ""

        @pytest.mark.parametrize("responses_server", [{"api_key": "local", "model": "directive"}], indirect=True)
        def test_parameter(responses_server):
            assert ask(responses_server, "SAY 2 hm") == "hmhm"

        def test_module(responses_server):
            with pytest.raises(OSError, match="401"):
                ask(responses_server)
    """)

    result.assert_outcomes(passed=3)


def test_a_wrong_option_is_an_error_of_the_test_that_says_which(tests):
    result = tests("""
        import pytest

        @pytest.mark.responses_server(modle="directive")
        def test_it(responses_server):
            pass
    """)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*OptionError*modle*"])


def test_what_the_model_raised_fails_a_test_that_would_have_passed(tests):
    result = tests("""
        import pytest

        class Broken:
            name = "broken"

            def respond(self, request):
                raise KeyError("a bug of my model")
                yield

        def call(server):
            try:
                ask(server)
            except OSError:
                pass

        @pytest.mark.responses_server(model=Broken())
        def test_unexpected(responses_server):
            call(responses_server)

        def test_no_step(responses_server):
            responses_server.script(lambda request: ["a text"])
            call(responses_server)

        @pytest.mark.responses_server(model=Broken())
        def test_expected(responses_server):
            call(responses_server)
            assert len(responses_server.errors) == 1
            responses_server.errors.clear()

        @pytest.mark.responses_server(model=Broken())
        def test_own_failure_comes_first(responses_server):
            call(responses_server)
            assert not "my own failure"
    """)

    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(["*the model of the server failed with KeyError('a bug of my model')*"])
    result.stdout.fnmatch_lines(["*the model of the server failed with TypeError(\"not a step: 'a text'\")*"])
    result.stdout.fnmatch_lines(["*assert not*my own failure*"])


def test_expectations_that_are_not_met_list_what_came(tests):
    result = tests("""
        def test_it(responses_server):
            ask(responses_server, "about rivers", tools=[{"type": "web_search"}])
            responses_server.expect(model="any", text="rivers", tools=["web_search"], lane=None)
            responses_server.expect(count=2, text="seas")
    """)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E   *expected 2 requests with text='seas'; none came. The server saw:",
            "E   *1. http, model='any', text='about rivers', tools=[[]'web_search'[]] - text is 'about rivers'",
        ]
    )


def test_cassettes_are_recorded_on_request_and_replayed_otherwise(tests, pytester):
    source = """
        def test_turns(responses_cassette):
            assert ask(responses_cassette, "SAY 1 one") == "one"
            assert ask(responses_cassette, "SAY 1 two") == "two"
            assert responses_cassette.recording == RECORDING
    """
    result = tests("RECORDING = False" + source.replace("\n        ", "\n"))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*CassetteError: there is no cassette at *test_turns.jsonl*"])

    from triplane.testing import start_server

    with start_server() as server:
        result = tests(
            "RECORDING = True" + source.replace("\n        ", "\n"), "--responses-record", server.base_url
        )
    result.assert_outcomes(passed=1)
    (cassette,) = pytester.path.rglob("*.jsonl")
    assert cassette.parent.parent.name == "cassettes"
    assert "Bearer" not in cassette.read_text()

    tests("RECORDING = False" + source.replace("\n        ", "\n")).assert_outcomes(passed=1)
    other = source.replace("\n        ", "\n").replace("SAY 1 two", "SAY 1 three")
    result = tests("RECORDING = False" + other)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['*input: recorded "SAY 1 two", now "SAY 1 three"*'])


def test_a_script_may_be_a_file_beside_the_test(tests, pytester):
    pytest.importorskip("yaml", reason="needs the extra triplane[testing]")
    pytester.path.joinpath("script.yaml").write_text("turns:\n- from a file\n")
    result = tests("""
        from pathlib import Path

        def test_file(responses_server, responses_script):
            responses_script(Path("script.yaml"))
            assert ask(responses_server) == "from a file"
    """)

    result.assert_outcomes(passed=1)


def test_a_script_is_played_and_has_to_be_used_up(tests):
    result = tests("""
        from triplane.server import FunctionCall, Turn

        def test_used_up(responses_server, responses_script):
            responses_script(Turn(FunctionCall("look", "{}"), expect="look"), ["It is ", "red."])
            assert ask(responses_server, "look") == ""
            assert ask(responses_server, "well?") == "It is red."
            responses_server.expect(order=[{"text": "look"}, {"text": "well?"}])

        def test_not_used_up(responses_server, responses_script):
            responses_script("one", Turn("two", name="the second"))
            assert ask(responses_server) == "one"

        def test_too_much(responses_server):
            responses_server.script("one")
            ask(responses_server)
            try:
                ask(responses_server)
            except OSError:
                pass
    """)

    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["*turn 2 (the second) was not used*"])
    result.stdout.fnmatch_lines(["*no turn is left; there were 1*"])


def test_what_else_is_wrong_is_added_to_a_failure(tests):
    result = tests("""
        def test_it(responses_server, responses_script):
            responses_script("one", "two")
            assert ask(responses_server) == "something else"
    """)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*assert 'one' == 'something else'*"])
    result.stdout.fnmatch_lines(["E*turn 2 was not used*"])


def test_a_marker_may_name_the_cassette(tests, pytester):
    pytester.path.joinpath("cassettes").mkdir()
    pytester.path.joinpath("cassettes", "shared.jsonl").write_text('{"triplane_cassette": 1}')
    result = tests("""
        import pytest

        @pytest.mark.responses_cassette("shared.jsonl", speed=1)
        def test_it(responses_cassette):
            assert responses_cassette.path.name == "shared.jsonl"
            assert not responses_cassette.recording
            assert responses_cassette.url.startswith("ws://127.0.0.1:")
            assert responses_cassette.url.replace("ws:", "http:") == responses_cassette.http_url + "/responses"

        @pytest.mark.responses_cassette("shared.jsonl", sped=1)
        def test_wrong(responses_cassette):
            pass
    """)

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*sped*"])
