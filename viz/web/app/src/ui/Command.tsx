import { useEffect, useState } from 'preact/hooks';
import { Icon } from './Icon';

// Command is a command that people can copy.
export function Command(props: { children: string }) {
  const [copied, set] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => set(false), 2000);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = () => void navigator.clipboard.writeText(props.children).then(() => set(true), () => set(false));
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

// Text shows a sentence in which `backticks` mark what people type.
export function Text(props: { children: string }) {
  return <>{props.children.split('`').map((part, i) => (i % 2 === 1 ? <code key={i}>{part}</code> : part))}</>;
}
