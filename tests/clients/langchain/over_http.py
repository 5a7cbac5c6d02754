"""LangChain over HTTP: a chat model that calls a tool, streamed and not, and an agent."""

from __future__ import annotations

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
def look_up(topic: str) -> str:
    """Look a topic up."""
    return f"facts about {topic}"


model = ChatOpenAI(model="gpt-5.5", use_responses_api=True)
message = model.bind_tools([look_up]).invoke('CALL look_up {"topic": "rivers"}')
assert [(call["name"], call["args"]) for call in message.tool_calls] == [("look_up", {"topic": "rivers"})]

agent = create_agent(model, [look_up])
state = agent.invoke({"messages": [HumanMessage('CALL look_up {"topic": "rivers"}')]})
assert state["messages"][-1].text == 'RESULT: "facts about rivers"', state["messages"][-1]

chunks = [chunk.text for chunk in model.stream("SAY 3 hm ")]
assert "".join(chunks) == "hm hm hm "
assert len([chunk for chunk in chunks if chunk]) == 3
print("tool calls, an agent and streaming, over HTTP")
