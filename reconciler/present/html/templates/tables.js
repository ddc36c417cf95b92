"use strict";
// Has a table sorted by the column whose title is clicked. Without scripts it stands in the order that it came in.
(() => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  const order = new Intl.Collator(undefined, {numeric: true});
  const value = (row, at) => {
    const cell = row.cells[at], given = cell.dataset.value;
    if (given !== undefined) return Number(given);
    const text = (cell.querySelector(".name") || cell).textContent.trim();
    const plain = text.replace(/(\d)\u202f(?=\d{3})/g, "$1");
    const size = /^(?:about )?([\d.]+)\s(B|[KMGTP]iB)/.exec(plain);
    if (size) return Number(size[1]) * 1024 ** units.indexOf(size[2]);
    const count = /^(\d+)(?:\s+[a-z]+)?$/.exec(plain);
    return count ? Number(count[1]) : plain;
  };
  const compare = (one, other) => {
    const numbers = typeof one === "number" && typeof other === "number";
    return numbers ? one - other : order.compare(String(one), String(other));
  };
  const prepare = (part) => part.querySelectorAll("table.sorts").forEach((table) => {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    if (body.rows.length > 1) heads.forEach((head, at) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        const rows = [...body.rows].map((row) => [value(row, at), row]);
        rows.sort(([one], [other]) => (down ? compare(other, one) : compare(one, other)));
        body.append(...rows.map(([, row]) => row));
        for (const each of heads) each.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
      });
    });
  });
  prepare(document);
  document.addEventListener("fresh", (event) => prepare(event.target));
})();
