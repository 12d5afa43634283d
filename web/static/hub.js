// What pages gain where scripts run: copy buttons, names completed while they are typed, and a key
// that leads to the search.
"use strict";

function copyButton(text, label) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  const word = document.createTextNode("Copy");
  const what = document.createElement("span");
  what.className = "unseen";
  what.textContent = ` ${label}`;
  button.append(word, what);
  button.addEventListener("click", async () => {
    word.data = (await copy(text)) ? "Copied" : "Failed";
    setTimeout(() => (word.data = "Copy"), 1600);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers lend the clipboard to secure addresses only; a hub in a team's network may have none.
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

function addCopyButton(element) {
  const text = element.textContent.trim();
  if (element.tagName === "PRE") {
    const frame = document.createElement("div");
    frame.className = "copy-frame";
    element.replaceWith(frame);
    frame.append(element, copyButton(text, element.getAttribute("aria-label")));
  } else {
    const short = text.replace(/^(sha256:)?([0-9a-f]{10})[0-9a-f]{20,}$/, "$1$2…");
    element.textContent = short;
    element.title = text;
    element.classList.add("digest-short");
    element.after(copyButton(text, text.slice(0, 19)));
  }
}

class Suggestions {
  constructor(input) {
    this.input = input;
    this.list = document.createElement("ul");
    this.list.className = "suggestions";
    this.list.id = `${input.id}-suggestions`;
    this.list.hidden = true;
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", "Adapters");
    input.setAttribute("role", "combobox");
    input.setAttribute("aria-autocomplete", "list");
    input.setAttribute("aria-expanded", "false");
    input.setAttribute("aria-controls", this.list.id);
    input.after(this.list);
    input.addEventListener("input", () => this.ask());
    input.addEventListener("keydown", (event) => this.press(event));
    input.addEventListener("blur", () => this.show([]));
    this.list.addEventListener("mousedown", (event) => this.click(event));
    this.asked = 0;
    this.chosen = -1;
  }

  ask() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.fetch(), 90);
  }

  async fetch() {
    const number = ++this.asked;
    const text = this.input.value.trim();
    if (!text) return this.show([]);
    try {
      const answer = await fetch(`${this.input.dataset.suggest}?q=${encodeURIComponent(text)}`);
      const found = answer.ok ? await answer.json() : [];
      // Answers may overtake one another: only that to the last question counts.
      if (number === this.asked && document.activeElement === this.input) this.show(found);
    } catch {
      this.show([]); // The form works without suggestions.
    }
  }

  show(found) {
    this.chosen = -1;
    this.list.replaceChildren(...found.map((each, index) => this.option(each, index)));
    this.list.hidden = found.length === 0;
    this.input.setAttribute("aria-expanded", String(found.length > 0));
    this.input.removeAttribute("aria-activedescendant");
  }

  option(each, index) {
    const item = document.createElement("li");
    item.id = `${this.list.id}-${index}`;
    item.dataset.name = each.name;
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", "false");
    item.textContent = each.name;
    if (each.title) {
      const title = document.createElement("small");
      title.textContent = each.title;
      item.append(title);
    }
    return item;
  }

  press(event) {
    const items = this.list.children;
    if (event.key === "Escape" && !this.list.hidden) {
      event.preventDefault();
      this.show([]);
    } else if (event.key === "Enter" && this.chosen >= 0) {
      event.preventDefault();
      this.open(items[this.chosen]);
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && items.length) {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      this.choose((this.chosen + step + items.length + (this.chosen < 0 && step < 0)) % items.length);
    }
  }

  choose(index) {
    const items = [...this.list.children];
    items.forEach((item, at) => item.setAttribute("aria-selected", String(at === index)));
    this.chosen = index;
    this.input.setAttribute("aria-activedescendant", items[index].id);
    items[index].scrollIntoView({ block: "nearest" });
  }

  click(event) {
    const item = event.target.closest("[role=option]");
    event.preventDefault();
    if (item) this.open(item);
  }

  open(item) {
    location.assign(`/${item.dataset.name}`);
  }
}

document.querySelectorAll(".copyable").forEach(addCopyButton);
document.querySelectorAll("[data-suggest]").forEach((input) => new Suggestions(input));

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  const field = document.querySelector("[data-suggest]");
  if (event.key !== "/" || typing || !field || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  field.select();
});
