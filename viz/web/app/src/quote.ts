// Quotes texts from links and from the cluster for commands that people paste into a shell.

// Control characters of terminals, and characters that change the direction of text: with them people would paste
// another text than they read.
const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;

// quote returns a text as one word of a shell.
export function quote(text: string): string {
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(text)) return text;
  if (!unsafe.test(text)) return `'${text.replaceAll("'", `'\\''`)}'`;
  let out = '';
  for (const c of text) {
    if (c === "'" || c === '\\') out += `\\${c}`;
    else if (!unsafe.test(c)) out += c;
    else for (const byte of new TextEncoder().encode(c)) out += `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return `$'${out}'`;
}
