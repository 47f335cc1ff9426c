import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { Icon } from './Icon';
import { Name } from './Name';

export interface PickerProps {
  label: string;
  value: string; // "" is all
  all: string; // what "" is called
  load: () => Promise<string[] | null>; // null if the names cannot be read
  onPick: (value: string) => void;
}

// filter returns the names in which the text occurs; those that begin with it come first.
export function filter(names: string[], text: string): string[] {
  const found = names.filter((n) => n.includes(text));
  return [...found.filter((n) => n.startsWith(text)), ...found.filter((n) => !n.startsWith(text))];
}

// Picker chooses one of many names: a button that opens a list with a search. It follows the combobox pattern of the
// ARIA Authoring Practices Guide.
export function Picker(props: PickerProps) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const close = (focus: boolean) => {
    setOpen(false);
    if (focus) button.current?.focus();
  };
  useEffect(() => {
    if (!open) return;
    const outside = (e: PointerEvent) => !root.current?.contains(e.target as Node) && close(false);
    document.addEventListener('pointerdown', outside);
    return () => document.removeEventListener('pointerdown', outside);
  }, [open]);
  return (
    <div class="picker" ref={root}>
      <button type="button" class="picker-button" ref={button} aria-haspopup="listbox" aria-expanded={open}
        data-picker onClick={() => setOpen(!open)}>
        <span class="label">{props.label}</span>
        {props.value === '' ? <span>{props.all}</span> : <Name most={28}>{props.value}</Name>}
        <Icon name="down" />
      </button>
      {open && <List {...props} close={close} />}
    </div>
  );
}

function List(props: PickerProps & { close: (focus: boolean) => void }) {
  const [names, setNames] = useState<string[] | null | undefined>(undefined);
  const [text, setText] = useState('');
  const [active, setActive] = useState(0);
  const input = useRef<HTMLInputElement>(null);
  const list = useRef<HTMLUListElement>(null);
  const id = useId();
  useEffect(() => {
    input.current?.focus();
    let gone = false;
    void props.load().then((n) => gone || setNames(n));
    return () => void (gone = true);
  }, []);
  const found = filter(names ?? [], text);
  const typed = text !== '' && !found.includes(text) && !names ? [text] : [];
  const options = text === '' ? ['', ...found] : [...found, ...typed];
  const move = (to: number) => {
    const next = Math.max(0, Math.min(options.length - 1, to));
    setActive(next);
    list.current?.children[next]?.scrollIntoView({ block: 'nearest' });
  };
  const pick = (value: string | undefined) => {
    if (value === undefined) return;
    props.close(true);
    props.onPick(value);
  };
  const key = (e: KeyboardEvent) => {
    const moves: Record<string, number> = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + 8,
      PageUp: active - 8 };
    if (e.key in moves) move(moves[e.key]!);
    else if (e.key === 'Enter') pick(options[active]);
    else if (e.key === 'Escape') props.close(true);
    else if (e.key === 'Tab') return props.close(true);
    else return;
    e.preventDefault();
    e.stopPropagation();
  };
  return (
    <div class="picker-list">
      <div class="search">
        <Icon name="search" />
        <input ref={input} type="text" role="combobox" aria-expanded="true" aria-controls={id} autocomplete="off"
          spellcheck={false} aria-activedescendant={options.length > 0 ? `${id}-${active}` : undefined}
          aria-label={`Search: ${props.label}`} placeholder="Search" value={text} onKeyDown={key}
          onInput={(e) => {
            setText(e.currentTarget.value.trim().toLowerCase());
            setActive(0);
          }} />
      </div>
      <ul id={id} role="listbox" aria-label={props.label} ref={list}>
        {options.map((value, i) => (
          <li key={value} id={`${id}-${i}`} role="option" aria-selected={value === props.value}
            class={i === active ? 'active' : undefined} onPointerMove={() => setActive(i)} onClick={() => pick(value)}>
            {value === '' ? props.all : <Name>{value}</Name>}
            {value === props.value && <Icon name="check" />}
          </li>
        ))}
      </ul>
      {names === undefined && <p class="hint" role="status">Reading the names…</p>}
      {names === null && <p class="hint" role="status">The names cannot be read. Type one and press Enter.</p>}
      {names && options.length === 0 && <p class="hint" role="status">No name contains this text.</p>}
    </div>
  );
}
