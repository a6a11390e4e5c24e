SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.bundles (
    id integer NOT NULL,
    namespace character varying(63) NOT NULL,
    name character varying(128) NOT NULL COLLATE pg_catalog."C",
    version character varying(128) NOT NULL,
    created_at timestamp with time zone NOT NULL,
    uri character varying(1024) NOT NULL,
    kappa_version character varying(64) NOT NULL,
    content_digest character varying(71) NOT NULL,
    bundle_digest character varying(71) NOT NULL,
    size_bytes bigint NOT NULL,
    view json NOT NULL
);
CREATE SEQUENCE public.bundles_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.bundles_id_seq OWNED BY public.bundles.id;
CREATE TABLE public.labels (
    namespace character varying(63) NOT NULL,
    bundle_id integer NOT NULL,
    key character varying(63) NOT NULL COLLATE pg_catalog."C",
    value character varying(63) NOT NULL
);
CREATE TABLE public.locked_packages (
    namespace character varying(63) NOT NULL,
    bundle_id integer NOT NULL,
    distribution character varying(255) NOT NULL,
    version character varying(1024) NOT NULL
);
ALTER TABLE ONLY public.bundles ALTER COLUMN id SET DEFAULT nextval('public.bundles_id_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('0001');
INSERT INTO public.bundles VALUES (1, 'default', 'Iris', '1', '2026-01-01 21:30:15.25+09', 'Iris/1', '0.1.0', 'sha256:0000000000000000000000000000000000000000000000000000000000000000', 'sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 1234, '{"name": "Iris", "version": "1", "labels": {"team": "growth", "stage": "test"}}');
INSERT INTO public.bundles VALUES (2, 'default', 'Iris', '2', '2026-03-01 21:30:15.25+09', 'Iris/2', '0.1.0', 'sha256:0000000000000000000000000000000000000000000000000000000000000000', 'sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 1234, '{"name": "Iris", "version": "2", "labels": {"team": "core"}}');
INSERT INTO public.bundles VALUES (3, 'default', 'Wine', '1', '2026-02-01 21:30:15.25+09', 'Wine/1', '0.1.0', 'sha256:0000000000000000000000000000000000000000000000000000000000000000', 'sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc', 1234, '{"name": "Wine", "version": "1", "labels": {}}');
INSERT INTO public.bundles VALUES (4, 'team-b', 'Iris', '1', '2026-01-01 21:30:15.25+09', 'Iris/1', '0.1.0', 'sha256:0000000000000000000000000000000000000000000000000000000000000000', 'sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd', 1234, '{"name": "Iris", "version": "1", "labels": {"team": "b"}}');
INSERT INTO public.labels VALUES ('default', 1, 'team', 'growth');
INSERT INTO public.labels VALUES ('default', 1, 'stage', 'test');
INSERT INTO public.labels VALUES ('default', 2, 'team', 'core');
INSERT INTO public.labels VALUES ('team-b', 4, 'team', 'b');
INSERT INTO public.locked_packages VALUES ('default', 1, 'pillow', '11.0');
INSERT INTO public.locked_packages VALUES ('default', 1, 'numpy', '2.0');
INSERT INTO public.locked_packages VALUES ('default', 2, 'pillow', '11.1');
INSERT INTO public.locked_packages VALUES ('default', 2, 'numpy', '2.0');
INSERT INTO public.locked_packages VALUES ('team-b', 4, 'pillow', 'https://example.org/pillow.whl');
SELECT pg_catalog.setval('public.bundles_id_seq', 4, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkey PRIMARY KEY (version_num);
ALTER TABLE ONLY public.bundles
    ADD CONSTRAINT pk_bundles PRIMARY KEY (id);
ALTER TABLE ONLY public.labels
    ADD CONSTRAINT pk_labels PRIMARY KEY (bundle_id, key);
ALTER TABLE ONLY public.locked_packages
    ADD CONSTRAINT pk_locked_packages PRIMARY KEY (bundle_id, distribution, version);
ALTER TABLE ONLY public.bundles
    ADD CONSTRAINT uq_bundles_namespace_name_version UNIQUE (namespace, name, version);
CREATE INDEX ix_bundles_namespace_bundle_digest ON public.bundles USING btree (namespace, bundle_digest);
CREATE INDEX ix_bundles_namespace_name_created_at ON public.bundles USING btree (namespace, name, created_at);
CREATE INDEX ix_labels_namespace_key_value ON public.labels USING btree (namespace, key, value);
CREATE INDEX ix_locked_packages_namespace_distribution_version ON public.locked_packages USING btree (namespace, distribution, version);
ALTER TABLE ONLY public.labels
    ADD CONSTRAINT fk_labels_bundle_id FOREIGN KEY (bundle_id) REFERENCES public.bundles(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.locked_packages
    ADD CONSTRAINT fk_locked_packages_bundle_id FOREIGN KEY (bundle_id) REFERENCES public.bundles(id) ON DELETE CASCADE;
