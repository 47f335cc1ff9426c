import { useEffect, useId, useState } from 'preact/hooks';
import type { Ref } from '../../api';
import { listTargets } from '../../config';
import { Choice } from '../../ui/Choice';
import { Icon } from '../../ui/Icon';
import { Picker } from '../../ui/Picker';
import { defaultRate, isNamespace, namespaceOf, type Params } from './query';

type Change = (changes: Record<string, string | null>) => void;

const directions: Record<string, string> = { Both: '', Received: 'inbound', Sent: 'outbound' };
const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'CONNECT'];
const further = ['to', 'to-namespace', 'authority', 'scheme', 'selector', 'max-rps'];

// Filters is what narrows the watch at the proxies: what does not match never leaves them.
export function Filters(props: { params: Params; target: Ref; change: Change }) {
  const { params, target, change } = props;
  const set = further.filter((name) => params[name]).length;
  const [open, setOpen] = useState(set > 0);
  const id = useId();
  const namespace = namespaceOf(target);
  const whole = isNamespace(target.kind);
  const direction = Object.keys(directions).find((d) => directions[d] === (params.direction ?? '')) ?? 'Both';
  const field = (name: string, label: string, more: Partial<FieldProps> = {}) => (
    <Field label={label} value={params[name] ?? ''} onChange={(value) => change({ [name]: value.trim() })} {...more} />
  );
  return (
    <section class="tap-filters card" aria-label="What to watch">
      <div class="tap-fields">
        <div class="tap-field tap-target">
          <Picker
            label="Watch"
            all="the whole namespace"
            value={whole ? '' : (params.resource ?? '')}
            load={() => listTargets(namespace)}
            onPick={(resource) => change({ resource: resource || `ns/${namespace}`, namespace })}
          />
        </div>
        <Choice
          label="Direction"
          options={Object.keys(directions)}
          value={direction}
          onPick={(d) => change({ direction: directions[d] ?? '' })}
        />
        <label class="tap-field">
          <span>Method</span>
          <select value={params.method ?? ''} onChange={(e) => change({ method: e.currentTarget.value })}>
            <option value="">any</option>
            {(methods.includes(params.method ?? 'GET') ? methods : [...methods, params.method!]).map((m) => (
              <option key={m}>{m}</option>
            ))}
          </select>
        </label>
        <div class="tap-path">{field('path', 'Path begins with', { placeholder: '/' })}</div>
        <button type="button" class="button" aria-expanded={open} aria-controls={id} onClick={() => setOpen(!open)}>
          <Icon name="filter" /> More filters{set > 0 && ` (${set})`}
        </button>
      </div>
      <div id={id} hidden={!open} class="tap-fields tap-further">
        {field('to', 'Sent to', {
          placeholder: 'svc/NAME',
          help: 'A workload, Service or authority, as in svc/cart or deploy/cart',
        })}
        {field('to-namespace', 'In namespace', { placeholder: namespace })}
        {field('authority', 'Authority', { placeholder: 'cart.shop:8080' })}
        {field('scheme', 'Scheme', { placeholder: 'http' })}
        {field('selector', 'Labels of the pods', { placeholder: 'app=web' })}
        {field('max-rps', 'Most requests per second', { placeholder: String(defaultRate), numeric: true })}
      </div>
    </section>
  );
}

interface FieldProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  placeholder?: string;
  help?: string;
  numeric?: boolean;
}

// Field is a text that counts once the viewer leaves it or presses Enter: each change begins a new watch.
function Field(props: FieldProps) {
  const [text, setText] = useState(props.value);
  useEffect(() => setText(props.value), [props.value]);
  return (
    <label class="tap-field" title={props.help}>
      <span>{props.label}</span>
      <input
        type="text"
        inputMode={props.numeric ? 'numeric' : undefined}
        value={text}
        placeholder={props.placeholder}
        spellcheck={false}
        autocomplete="off"
        autocapitalize="off"
        onInput={(e) => setText(e.currentTarget.value)}
        onChange={(e) => props.onChange(e.currentTarget.value)}
      />
    </label>
  );
}
