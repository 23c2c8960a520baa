const form = document.forms[0];
const said = document.querySelector(".said");
const button = form.querySelector("button");
const token = new URLSearchParams(location.hash.slice(1)).get("token");

function say(words, kind) {
  said.textContent = words;
  said.className = `said ${kind}`;
  said.hidden = false;
}

function body() {
  const given = [...new FormData(form)].filter(([, value]) => value !== "");
  return JSON.stringify({ ...("token" in form.dataset && { token }), ...Object.fromEntries(given) });
}

async function send(event) {
  event.preventDefault();
  button.disabled = true;
  try {
    const answer = await fetch(form.getAttribute("action"), {
      method: "POST", headers: { "Content-Type": "application/json" }, body: body(), credentials: "omit",
    });
    if (answer.ok) {
      form.hidden = true;
      document.querySelector(".lead").hidden = true;
      history.replaceState(null, "", location.pathname); // the token is used: let it stay nowhere
      say(form.dataset.done, "good");
      return;
    }
    const problem = await answer.json().catch(() => ({}));
    say(problem.errors?.[0]?.message ?? problem.detail ?? `The server answered ${answer.status}.`, "bad");
  } catch {
    say("The server does not answer. Try again in a moment.", "bad");
  }
  button.disabled = false;
}

if ("token" in form.dataset && !token) {
  form.hidden = true;
  say("Open this page by the link in the mail: something is missing from the address.", "bad");
} else {
  button.disabled = false;
  form.addEventListener("submit", send);
}
