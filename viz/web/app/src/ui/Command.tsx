import { useEffect, useState } from 'preact/hooks';
import { Icon } from './Icon';

// useCopy copies a text to the clipboard, and returns whether it has just done so.
function useCopy(text: string): [boolean, () => void] {
  const [copied, set] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => set(false), 2000);
    return () => clearTimeout(timer);
  }, [copied]);
  return [copied, () => void navigator.clipboard.writeText(text).then(() => set(true), () => set(false))];
}

// Command is a command that people can copy.
export function Command(props: { children: string }) {
  const [copied, copy] = useCopy(props.children);
  return (
    <span class="command">
      <code>{props.children}</code>
      <button type="button" class="icon-button" onClick={copy} title="Copy the command"
        aria-label={copied ? 'Copied' : `Copy the command ${props.children}`}>
        <Icon name={copied ? 'check' : 'copy'} />
      </button>
    </span>
  );
}

// Script is a command of several lines that people can copy.
export function Script(props: { label: string; children: string }) {
  const [copied, copy] = useCopy(props.children);
  return (
    <div class="script">
      <pre tabIndex={0} role="region" aria-label={props.label}><code>{props.children}</code></pre>
      <button type="button" class="button" onClick={copy}>
        <Icon name={copied ? 'check' : 'copy'} />{copied ? 'Copied' : 'Copy'}
      </button>
    </div>
  );
}

// CopyButton copies a text that is too long to show.
export function CopyButton(props: { text: string; label: string }) {
  const [copied, copy] = useCopy(props.text);
  return (
    <button type="button" class="button" onClick={copy} title={props.text}>
      <Icon name={copied ? 'check' : 'copy'} /> {copied ? 'Copied' : props.label}
    </button>
  );
}

// Text shows a sentence in which `backticks` mark what people type.
export function Text(props: { children: string }) {
  return <>{props.children.split('`').map((part, i) => (i % 2 === 1 ? <code key={i}>{part}</code> : part))}</>;
}
